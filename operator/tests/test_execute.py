"""What carrying out a plan does with what it is refused."""

import threading

import pytest
from aurora_core.errors import EngineError
from aurora_operator.errors import ClusterError
from aurora_operator.promotion.progress import Note, Pod
from aurora_operator.reconcile import execute
from aurora_operator.reconcile.plan import Load, Plan
from operator_support import a_snapshot


class Agents:
    """Stands for the agents of all pods; a load ends when all of them have begun."""

    def __init__(self, pods):
        self.began = threading.Barrier(pods, timeout=5)
        self.calls = []

    def __call__(self, pod, token):
        return Agent(self, pod.name)


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


@pytest.mark.parametrize("status", [0, 400, 403, 409, 422, 429, 500, 503])
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
    assert [problem.reason for problem in problems] == ["ApplyRefused", "ApplyRefused"]


def test_nothing_follows_from_a_status_that_was_not_written(agents):
    class Conflict(Refusing):
        def write_status(self, *_):
            self._refuse()

    cluster = Conflict(409)
    with pytest.raises(ClusterError):
        execute.execute(cluster, a_snapshot(), Plan(status={}, apply=(config("fine"),), loads=(object(),)))
    assert (cluster.applied, agents.calls) == ([], [])
