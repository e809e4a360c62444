"""One acts, the others stand by: acquired, renewed, taken over, released, lost."""

import copy
import itertools
import threading

import pytest
from aurora_operator.clients.lease import DURATION_SECONDS, Election
from aurora_operator.errors import ClusterError, OperatorError
from aurora_operator.settings import Settings
from hypothesis import given, settings
from hypothesis import strategies as st


class Server:
    """One Lease, with optimistic locking as the API server has it."""

    def __init__(self):
        self.stored, self.broken, self._versions = None, False, itertools.count(1)

    def get(self, *_):
        self._check()
        return copy.deepcopy(self.stored)

    def create(self, body):
        self._check()
        if self.stored is not None:
            raise ClusterError("exists", 409)
        self._store(body)

    def replace(self, body):
        self._check()
        if body["metadata"]["resourceVersion"] != self.stored["metadata"]["resourceVersion"]:
            raise ClusterError("changed", 409)
        self._store(body)

    def _check(self):
        if self.broken:
            raise ClusterError("no answer")

    def _store(self, body):
        self.stored = copy.deepcopy(body)
        self.stored["metadata"]["resourceVersion"] = str(next(self._versions))

    @property
    def holder(self):
        return self.stored["spec"]["holderIdentity"]


def elections(*names, clock=lambda: 0.0):
    server = Server()
    return server, *(Election(server, "ns", "lease", clock, name) for name in names)


def test_the_first_has_it_and_the_second_stands_by_while_it_is_renewed():
    now = [0.0]
    server, a, b = elections("a", "b", clock=lambda: now[0])
    for _ in range(20):
        assert a.attempt()
        assert not b.attempt()
        now[0] += DURATION_SECONDS / 2
    assert server.holder == "a"
    assert server.stored["spec"]["leaseTransitions"] == 0


def test_one_that_is_no_longer_renewed_is_taken_over_after_its_duration():
    now = [0.0]
    server, a, b = elections("a", "b", clock=lambda: now[0])
    assert a.attempt()
    assert not b.attempt()
    now[0] = DURATION_SECONDS - 1
    assert not b.attempt()
    now[0] = DURATION_SECONDS
    assert b.attempt()
    assert not a.attempt()
    assert (server.holder, server.stored["spec"]["leaseTransitions"]) == ("b", 1)


def test_one_that_is_released_is_taken_at_once():
    server, a, b = elections("a", "b")
    assert a.attempt()
    b.release()
    assert server.holder == "a"
    a.release()
    assert b.attempt()


def test_of_two_that_write_at_once_one_gets_it():
    server, a, b = elections("a", "b")
    server.get = lambda *_: None
    assert [a.attempt(), b.attempt()] == [True, False]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 20), st.booleans()), max_size=60))
@settings(deadline=None)
def test_never_do_two_believe_to_hold_it(steps):
    """Each believes it for the renewal deadline after its last success, which is shorter than the Lease lasts."""
    now, until = [0.0], {}
    server, *all_of_them = elections(*"abc", clock=lambda: now[0])
    by = dict(zip("abc", all_of_them, strict=True))
    for name, pause, broken in steps:
        now[0] += pause
        server.broken = broken
        try:
            if by[name].attempt():
                until[name] = now[0] + 10
        except ClusterError:
            pass
        assert sum(end > now[0] for end in until.values()) <= 1


@pytest.mark.parametrize("how", ["no answer", "another holder"])
def test_a_process_that_lost_it_ends(monkeypatch, how):
    monkeypatch.setattr("aurora_operator.clients.lease.RETRY_SECONDS", 0.01)
    server, ended = Server(), threading.Event()
    election = Election(server, "ns", "lease", identity="a", renew_seconds=0.2)
    election.acquire()
    election.keep(ended.set)
    assert not ended.wait(0.4)
    if how == "no answer":
        server.broken = True
    else:
        server.stored["spec"] |= {"holderIdentity": "b"}
    assert ended.wait(10)
    server.broken = False
    election.release()


def test_a_process_that_released_it_does_not_end_as_one_that_lost_it(monkeypatch):
    monkeypatch.setattr("aurora_operator.clients.lease.RETRY_SECONDS", 0.01)
    server, ended = Server(), threading.Event()
    election = Election(server, "ns", "lease", identity="a", renew_seconds=0.1)
    election.acquire()
    election.keep(ended.set)
    election.release()
    assert server.holder == ""
    assert not ended.wait(0.3)


def test_namespaces_and_lease_come_from_the_environment(monkeypatch):
    for name, value in {"ENGINE_IMAGE": "e", "TRAINER_IMAGE": "t", "WATCH_NAMESPACES": "a, b,"}.items():
        monkeypatch.setenv(f"AURORA_OPERATOR_{name}", value)
    assert Settings.from_environment().watch_namespaces == ("a", "b")
    assert Settings.from_environment().instance == ""
    monkeypatch.setenv("AURORA_OPERATOR_LEASE", "aurora")
    with pytest.raises(OperatorError, match="LEASE_NAMESPACE"):
        Settings.from_environment()
    monkeypatch.setenv("AURORA_OPERATOR_LEASE_NAMESPACE", "system")
    assert Settings.from_environment().instance == "system/aurora"
