"""The driver of mode Online ends ranks that wait for one that is gone, and no others."""

from itertools import count
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import pytest
from aurora_core.config import DeploymentConfig
from aurora_core.engine.settings import Desired
from aurora_core.online import cluster as module
from aurora_core.online import names, trainer_actor
from aurora_core.online.cluster import Cluster
from aurora_core.online.placement import Placement
from aurora_core.online.trainer_actor import TrainerActor, TrainerSetup
from ray.exceptions import ActorDiedError, ActorUnavailableError

DESIRED = Desired(version=0, steps=0)
UNAVAILABLE = ActorUnavailableError("the actor was restarted, or is not reached", None)
"""What Ray 2.60 raises of a call whose process was killed and starts again, as of one that it does not reach."""


class Rank:
    """An actor: its calls, whether it is in a group, and how often it was killed."""

    def __init__(self, calls):
        self.calls, self.killed, self.in_group, self.saves = calls, 0, False, False
        self.reached = True
        self.run = SimpleNamespace(remote=self._run)
        self.together = SimpleNamespace(remote=lambda: self._answer(self.in_group))
        self.saving = SimpleNamespace(remote=lambda: self._answer(self.saves))

    def _answer(self, answer):
        return answer if self.reached else UNAVAILABLE

    def _run(self, *_):
        self.call = f"call {next(self.calls)}"
        return self.call


class Ranks:
    """Three of them, and Ray as far as the driver uses it for them."""

    def __init__(self):
        calls = count()
        self.now, self.ended = 0.0, {}
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
            raise self.ended[call]
        if call is UNAVAILABLE:
            raise call
        assert timeout != 0
        return call

    def kill(self, actor, *, no_restart):
        assert not no_restart
        actor.killed += 1
        self.end(actor)

    def end(self, actor, error=UNAVAILABLE):
        """Its process, and the group with it."""
        self.ended[actor.call] = error
        actor.in_group = False

    def lose(self, actor):
        """Its call alone."""
        self.ended[actor.call] = UNAVAILABLE

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


@pytest.mark.parametrize("error", [UNAVAILABLE, ActorDiedError()])
def test_ranks_that_wait_for_one_that_ended_are_ended_and_all_start_again(ranks, error):
    """Given three in a group, when one ends and the others wait for it, then they are ended after half a minute."""
    ranks.end(ranks.actors[1], error)
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


def test_ranks_that_train_on_together_while_ray_does_not_reach_one_are_left_alone(ranks):
    """Given three in a group, when the driver loses one's call for a minute and it trains on, then none is ended."""
    ranks.actors[1].reached = False
    ranks.lose(ranks.actors[1])
    ranks.pass_by(60)
    ranks.actors[1].reached = True
    ranks.pass_by(700)
    assert ranks.killed == [0, 0, 0]


def test_a_rank_that_waits_and_is_not_reached_for_a_moment_is_ended_all_the_same(ranks):
    ranks.end(ranks.actors[1])
    ranks.pass_by(10)
    ranks.lose(ranks.actors[2])
    ranks.pass_by(25)
    assert ranks.killed == [1, 0, 1]


def test_a_rank_that_never_answers_is_waited_for_as_long_as_ranks_wait(ranks):
    ranks.end(ranks.actors[1])
    ranks.actors[1].reached = False
    ranks.pass_by(590)
    assert ranks.killed == [0, 0, 0]
    ranks.pass_by(20)
    assert ranks.killed == [1, 0, 1]


def test_a_first_rank_that_saves_while_another_one_ends_saves_to_its_end(ranks):
    """Given a rank that ended while the first one evaluates, publishes and saves, then that ends before the first."""
    first = ranks.actors[0]
    first.saves = True
    ranks.end(ranks.actors[1])
    ranks.pass_by(200)
    assert ranks.killed == [0, 0, 0]
    first.saves = False
    ranks.pass_by(2)
    assert ranks.killed == [1, 0, 1]


# --- the actor -----------------------------------------------------------------------------------------------------


class Trainer(TrainerActor):
    """The second rank, which is in a group until it may end."""

    def __init__(self):
        config = DeploymentConfig.model_validate({"target": {"model": "x"}, "samples": {"transport": "Ray"}})
        super().__init__(TrainerSetup(1, 2, local=True, config=config, work=Path(), models=Path()))
        self.going, self.go = Event(), Event()

    def _target(self):
        pass

    def _follow(self, *_):
        self._together = True
        self.going.set()
        return self.go.wait(20)


def test_a_rank_is_in_no_group_once_its_run_ended_and_in_one_while_another_call_waits(monkeypatch):
    monkeypatch.setattr(trainer_actor, "end_with_parent", lambda: None)
    one = Trainer()
    calls = [Thread(target=one.run, args=["first"]) for _ in range(2)]
    calls[0].start()
    assert one.going.wait(20)
    calls[1].start()
    assert one.together()
    one.go.set()
    for call in calls:
        call.join()
    assert not one.together()


def test_a_rank_says_whether_what_it_runs_saves():
    one = Trainer()
    assert not one.saving()
    one._training = SimpleNamespace(saving=True)
    assert one.saving()


def test_actors_of_another_release_have_other_names(monkeypatch):
    setup = Trainer()._setup
    name = names.actor_name(setup)
    assert name == names.actor_name(setup)
    monkeypatch.setattr(names, "version", lambda _: "0.0.1")
    assert names.actor_name(setup) != name
