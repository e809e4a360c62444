"""What carrying out a plan does with what it is refused."""

import threading

import pytest
from aurora_core.errors import EngineError
from aurora_operator.errors import ClusterError
from aurora_operator.promotion.progress import Note, Pod
from aurora_operator.reconcile import execute
from aurora_operator.reconcile.plan import Load, Plan
from aurora_operator.reconcile.route import Dealt, Patch
from aurora_operator.reconcile.snapshot import Problem
from operator_support import a_snapshot, reported


class Agents:
    """Stands for the agents of all pods; a load ends when all of them have begun."""

    def __init__(self, pods):
        self.began = threading.Barrier(pods, timeout=5)
        self.calls = []
        self.made = Agent

    def __call__(self, pod, token):
        return self.made(self, pod.name)


class Agent:
    def __init__(self, agents, pod):
        self._agents, self._pod = agents, pod

    def load(self, version, digest):
        self._agents.began.wait()
        if self._pod == "broken":
            raise EngineError("no such file")
        assert digest == ""
        self._agents.calls.append((self._pod, "load", version))

    def set_steps(self, steps):
        self._agents.calls.append((self._pod, "steps", steps))

    def set_sample_rate(self, rate):
        self._agents.calls.append((self._pod, "rate", rate))

    def close(self):
        pass


@pytest.fixture
def agents(monkeypatch):
    made = Agents(3)
    monkeypatch.setattr(execute, "agent", made)
    return made


def test_pods_load_together_and_one_that_cannot_keeps_none_back(agents):
    loads = tuple(Load(Pod(name, "", 1, 3, 1.0), 2, 3, 1.0) for name in ("a", "broken", "b"))
    problems = execute.execute(None, a_snapshot(), Plan(loads=loads))
    assert sorted(agents.calls) == [("a", "load", 2), ("b", "load", 2)]
    assert [(p.reason, p.message) for p in problems] == [("LoadFailing", "broken did not take version 2: no such file")]


@pytest.mark.parametrize(("steps", "desired", "order"), [(3, 0, ["steps", "load"]), (0, 3, ["load", "steps"])])
def test_nobody_runs_a_draft_that_was_not_desired(agents, steps, desired, order):
    agents.began = threading.Barrier(1)
    execute.execute(None, a_snapshot(), Plan(loads=(Load(Pod("a", "", 1, steps, 1.0), 2, desired, 0.5),)))
    assert [word for _, word, _ in agents.calls] == [*order, "rate"]


class Refusing:
    """An API server that takes one object, and nothing else."""

    def __init__(self, status):
        self._status = status
        self.applied = []

    def _refuse(self, *_):
        raise ClusterError("failed calling webhook\x1b[2J", self._status)

    event = delete = _refuse

    def apply(self, body):
        if body["metadata"]["name"] != "fine":
            self._refuse()
        self.applied.append(body["metadata"]["name"])


def config(name):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "ns"}}


REASONS = {
    0: "ApplyFailing", 400: "ApplyRefused", 403: "ApplyRefused", 409: "ApplyFailing", 422: "ApplyRefused",
    429: "ApplyFailing", 500: "ApplyFailing", 503: "ApplyFailing",
}  # fmt: skip


@pytest.mark.parametrize("status", REASONS)
def test_what_the_api_server_does_not_take_keeps_nothing_else_back(agents, status):
    agents.began = threading.Barrier(1)
    cluster = Refusing(status)
    todo = Plan(
        notes=(Note("Normal", "RolledBack", "to version 2"),),
        delete=(("batch/v1", "Job", "chat-trainer"),),
        apply=(config("chat-desired"), config("fine")),
        loads=(Load(Pod("a", "", 1, 3, 1.0), 2, 3, 1.0),),
    )
    problems = execute.execute(cluster, a_snapshot(), todo)
    assert cluster.applied == ["fine"]
    assert agents.calls == [("a", "load", 2)]
    assert [problem.reason for problem in problems] == [REASONS[status]] * 2


def test_a_field_that_the_kind_has_not_is_refused_for_good_whatever_its_status():
    class Untyped(Refusing):
        def apply(self, body):
            raise ClusterError("failed to create typed patch object (ns/a; v1, Kind=Pod): .x: field not declared", 500)

    (problem,) = execute.execute(Untyped(500), a_snapshot(), Plan(apply=(config("a"),)))
    assert problem.reason == "ApplyRefused"


def test_a_rollback_waits_for_no_object_and_no_event(agents):
    """A webhook that hangs ends only once the pods have loaded: in any other order nothing would ever end."""
    agents.began, loaded = threading.Barrier(1), threading.Event()

    class Hanging(Refusing):
        def _hang(self, *_):
            assert loaded.wait(5)
            raise ClusterError("failed calling webhook: context deadline exceeded", 500)

        apply = event = delete = _hang

    class Marking(Agent):
        def load(self, version, digest):
            super().load(version, digest)
            loaded.set()

    agents.made = Marking
    todo = Plan(
        notes=(Note("Warning", "RolledBack", "to version 2"),),
        delete=(("batch/v1", "Job", "chat-trainer"),),
        apply=(config("chat-desired"),),
        loads=(Load(Pod("a", "", 3, 3, 1.0), 2, 3, 1.0), Load(Pod("broken", "", 3, 3, 1.0), 2, 3, 1.0)),
    )
    problems = execute.execute(Hanging(500), a_snapshot(), todo)
    assert agents.calls == [("a", "load", 2)]
    assert [problem.reason for problem in problems] == ["LoadFailing", "ApplyFailing", "ApplyFailing"]


def test_what_could_not_be_done_is_all_in_the_condition():
    problems = tuple(Problem("ApplyFailing", f"{name} {'x' * 2000}") for name in ("first", "second", "third"))
    reason, message = reported("Degraded", problems=(Problem("LoadFailing", "pod a did not take it"), *problems))
    assert reason == "LoadFailing"
    assert message.startswith("pod a did not take it (and 3 more); first xxx")
    assert all(name in message for name in ("second", "third"))
    assert len(message) <= 800
    assert reported("Degraded", problems=(Problem("ApplyFailing", "once"),) * 2) == ("ApplyFailing", "once")


def test_nothing_follows_from_a_status_that_was_not_written(agents):
    class Conflict(Refusing):
        def write_status(self, *_):
            self._refuse()

    cluster = Conflict(409)
    with pytest.raises(ClusterError):
        execute.execute(cluster, a_snapshot(), Plan(status={}, apply=(config("fine"),), loads=(object(),)))
    assert (cluster.applied, agents.calls) == ([], [])


class Patching:
    """An API server that takes labels of pods, and no route."""

    def __init__(self):
        self.changes = []

    def patch(self, _, kind, namespace, name, change):
        if kind != "Pod":
            raise ClusterError("not allowed", 403)
        self.changes.append((namespace, name, change))


def test_pods_get_their_sets_also_where_the_route_is_not_taken_which_is_a_problem():
    cluster, at = Patching(), ("gateway.networking.k8s.io/v1", "HTTPRoute", "front")
    change = Patch(at, ({"op": "add", "path": "/spec/rules/0/backendRefs/0/weight", "value": 1},), (99, 1))
    (problem,) = execute.execute(cluster, a_snapshot(), Plan(dealt=Dealt({"a": "canary"}, change)))
    assert cluster.changes == [("ns", "a", {"metadata": {"labels": {"aurora-operator.io/pod-set": "canary"}}})]
    assert (problem.reason, problem.about) == ("ApplyRefused", at)


def test_where_there_is_nothing_to_do_no_thread_is_started(monkeypatch):
    monkeypatch.setattr(execute, "ThreadPoolExecutor", None)
    assert execute.execute(None, a_snapshot(), Plan()) == ()
