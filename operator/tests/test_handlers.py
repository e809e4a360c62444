"""What wakes a worker: what people ask for, and not what the operator itself wrote."""

import asyncio
from types import SimpleNamespace

import kopf
import pytest
from aurora_operator import handlers, metrics
from aurora_operator.clients.versions import Versions
from aurora_operator.controller import Name
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.rival import MARK, STAMP
from aurora_operator.settings import Settings
from hostile_rounds import SPEC, STATUS, body
from operator_support import a_body, a_snapshot, a_spec


class Woken:
    def __init__(self):
        self.names = []

    def wake(self, name):
        self.names.append(str(name))


def notify(memo, kind="MODIFIED", generation=1, **annotations):
    meta = SimpleNamespace(get={"uid": "u", "generation": generation}.get, annotations=annotations)
    asyncio.run(handlers.changed(memo=memo, event={"type": kind}, namespace="ns", name="chat", meta=meta))


def test_a_status_wakes_nobody_and_everything_else_does():
    memo = kopf.Memo(controller=Woken(), versions=Versions())
    notify(memo, "ADDED")
    for _ in range(3):
        notify(memo)
    assert memo.controller.names == ["ns/chat"]
    notify(memo, generation=2)
    notify(memo, generation=2, **{"aurora-operator.io/promote": "4"})
    notify(memo, generation=2)
    notify(memo, "DELETED", generation=2)
    assert memo.controller.names == ["ns/chat"] * 5


def test_the_liveness_endpoint_fails_while_reconciling_stands_still():
    memo = kopf.Memo(controller=SimpleNamespace(stalled_seconds=lambda: 10.0))
    assert asyncio.run(handlers.reconciling(memo=memo))
    memo.controller.stalled_seconds = lambda: 1000.0
    with pytest.raises(kopf.PermanentError, match="no reconcile ended for 1000 s"):
        asyncio.run(handlers.reconciling(memo=memo))


class Stored:
    """An API server that has one resource and nothing else, and notes what is written."""

    def __init__(self, resource):
        self._resource = resource
        self.written = []

    def forget(self, *_):
        pass

    def get(self, _, kind, *__):
        return self._resource if kind == "SpeculatorDeployment" else None

    def list(self, *_):
        return []

    def write_status(self, _namespace, _name, status, _version):
        self.written.append(status)


def unable(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize("error", [RecursionError("deep"), KeyError("name"), RuntimeError("a\x1b[2J"), MemoryError()])
@pytest.mark.parametrize(("step", "doing"), [("observe", "observing"), ("plan", "planning"), ("execute", "applying")])
def test_whatever_fails_shows_on_its_own_resource(monkeypatch, step, doing, error):
    spec = SPEC | {"promotion": {"strategy": "Manual"}}
    cluster = Stored(body(spec, STATUS))
    monkeypatch.setattr(handlers, step, unable(error))
    reconciler = handlers.Reconciler(cluster, Settings(engine_image="e", trainer_image="t"))
    with pytest.raises(type(error)):
        reconciler.reconcile(Name("ns", "chat"))
    degraded = next(one for one in cluster.written[-1]["conditions"] if one["type"] == "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "ReconcileFailing")
    assert degraded["message"].startswith(f"{type(error).__name__} while {doing}: ")


@pytest.mark.parametrize(
    "resource",
    [
        body(None),
        body("x"),
        body([]),
        body({}),
        body(SPEC, "x"),
        body({**SPEC, "serving": 3}),
        body(SPEC, {"stable": 1}),
    ],
)
def test_a_resource_of_whatever_form_shows_what_is_wrong_with_it(resource):
    cluster = Stored(resource)
    reconciler = handlers.Reconciler(cluster, Settings(engine_image="e", trainer_image="t"))
    assert reconciler.reconcile(Name("ns", "chat")) == 60
    (condition,) = (one for one in cluster.written[-1]["conditions"] if one["type"] == "Degraded")
    assert condition["reason"] == "SpecUnreadable"
    assert condition["message"].startswith("the resource cannot be read: s")


class Annotated:
    """A cluster that remembers what was annotated."""

    def __init__(self):
        self.resources, self.marks = 0, []

    def get(self, *_):
        return a_body(a_spec())

    def patch(self, *about):
        self.marks.append(about)


def test_a_resource_on_which_another_installation_acts_is_left_to_it(monkeypatch):
    stamped, done = {}, []
    desired = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "chat-desired", "annotations": stamped}}
    monkeypatch.setattr(handlers, "observe", lambda *_: a_snapshot(children=[desired]))

    def execute(_, snapshot, todo):
        done.append(snapshot.operator)
        stamped[STAMP] = snapshot.operator
        return ()

    monkeypatch.setattr(handlers, "execute", execute)
    given = {"engine_image": "e", "trainer_image": "t", "lease": "aurora", "lease_namespace": "a"}
    cluster = Annotated()
    reconciler = handlers.Reconciler(cluster, Settings.model_validate(given))
    assert reconciler.reconcile(Name("ns", "chat"))
    assert done == ["a/aurora"]
    stamped[STAMP] = "b/aurora"
    assert reconciler.reconcile(Name("ns", "chat")) == 60
    assert done == ["a/aurora"]
    ((*at, change),) = cluster.marks
    mark = change["metadata"]["annotations"]
    assert at == ["v1", "ConfigMap", "ns", "chat-desired"]
    assert mark[MARK].startswith("a/aurora ")
    # The other one shows it.
    stamped[MARK] = mark[MARK]
    other = handlers.Reconciler(cluster, Settings.model_validate(given | {"lease_namespace": "b"}))
    monkeypatch.setattr(handlers, "plan", lambda snapshot: done.append(snapshot.problems) or plan(snapshot))
    other.reconcile(Name("ns", "chat"))
    assert done[1][0].reason == "TwoOperators"
    assert "a/aurora" in done[1][0].message
    metrics.forget("ns/chat")
