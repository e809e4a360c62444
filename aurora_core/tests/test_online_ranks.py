"""The driver of mode Online ends ranks that wait for one that is gone, and no others."""

from itertools import count
from types import SimpleNamespace

import pytest
from aurora_core.engine.settings import Desired
from aurora_core.online import cluster as module
from aurora_core.online.cluster import Cluster
from aurora_core.online.placement import Placement
from ray.exceptions import ActorDiedError

DESIRED = Desired(version=0, steps=0)


class Rank:
    """An actor: its calls, whether it is in a group, and how often it was killed."""

    def __init__(self, calls):
        self.calls, self.killed, self.in_group = calls, 0, False
        self.run = SimpleNamespace(remote=self._run)
        self.together = SimpleNamespace(remote=lambda: self.in_group)

    def _run(self, *_):
        self.call = f"call {next(self.calls)}"
        return self.call


class Ranks:
    """Three of them, and Ray as far as the driver uses it for them."""

    def __init__(self):
        calls = count()
        self.now, self.ended = 0.0, set()
        self.actors = [Rank(calls) for _ in range(3)]
        setups = [SimpleNamespace(name=f"trainer-{rank}") for rank in range(3)]
        self.cluster = Cluster([], setups, Placement((), (), ()), joined=False)
        for setup, actor in zip(setups, self.actors, strict=True):
            self.cluster._watch(setup, actor, trains=True)

    def monotonic(self):
        return self.now

    def wait(self, calls, timeout):
        assert timeout == 0
        return [call for call in calls if call in self.ended], []

    def get(self, call, timeout=None):
        if call in self.ended:
            raise ActorDiedError
        assert timeout != 0
        return call

    def kill(self, actor, *, no_restart):
        assert not no_restart
        actor.killed += 1
        self.end(actor)

    def end(self, actor):
        self.ended.add(actor.call)
        actor.in_group = False

    def pass_by(self, seconds):
        for _ in range(seconds):
            self.now += 1
            self.cluster.run(DESIRED)

    @property
    def killed(self):
        return [actor.killed for actor in self.actors]

    def meet(self):
        for actor in self.actors:
            actor.in_group = True


@pytest.fixture
def ranks(monkeypatch):
    made = Ranks()
    monkeypatch.setattr(module, "ray", made)
    monkeypatch.setattr(module, "time", made)
    made.cluster.run(DESIRED)
    made.meet()
    return made


def test_ranks_that_wait_for_one_that_ended_are_ended_and_all_start_again(ranks):
    """Given three in a group, when one ends and the others wait for it, then they are ended after half a minute."""
    ranks.end(ranks.actors[1])
    ranks.pass_by(30)
    assert ranks.killed == [0, 0, 0]
    ranks.pass_by(3)
    assert ranks.killed == [1, 0, 1]
    ranks.pass_by(5)
    ranks.meet()
    ranks.pass_by(300)
    assert ranks.killed == [1, 0, 1], "the new group is left alone"
    assert ranks.cluster.restarts == {"trainer-0": 1, "trainer-1": 1, "trainer-2": 1}


def test_ranks_that_end_by_themselves_are_not_ended_again(ranks):
    for actor in ranks.actors:
        ranks.end(actor)
    ranks.pass_by(5)
    ranks.meet()
    ranks.pass_by(100)
    assert ranks.killed == [0, 0, 0]


def test_ranks_that_are_in_no_group_yet_wait_for_one_that_ends_again_and_again(ranks):
    for actor in ranks.actors:
        actor.in_group = False
    for _ in range(5):
        ranks.end(ranks.actors[2])
        ranks.pass_by(70)
    assert ranks.killed == [0, 0, 0]
    ranks.meet()
    ranks.pass_by(100)
    assert ranks.killed == [0, 0, 0], "a group that is complete in the end has lost nobody"
