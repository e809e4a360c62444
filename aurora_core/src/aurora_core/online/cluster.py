"""The actors of mode Online in their Ray cluster: placed, watched and restarted."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from aurora_core.engine.settings import Desired
from aurora_core.errors import AuroraError, ConfigError, EngineError
from aurora_core.online.backoff import Backoff
from aurora_core.online.engine_actor import EngineActor, EngineReport, EngineSetup
from aurora_core.online.names import actor_name, group_names
from aurora_core.online.placement import Placement, Seat
from aurora_core.online.trainer_actor import TRAINERS, TrainerActor, TrainerSetup
from aurora_core.waiting import wait

log = logging.getLogger(__name__)

_PLACED_SECONDS = 30.0
_STOP_SECONDS = 60.0
_MOST_FAILURES = 3
_ALONE_SECONDS = 30.0
"""How long a rank may continue without another one that it trained with; torch's launcher gives as much."""
_PATIENCE_SECONDS = 600.0
"""The same for one that saves, or beside one that does not answer; as long as ranks wait for the first one."""


@dataclass
class _Watched:
    """An actor whose ``run`` is under way.

    Attributes:
        trains: whether it is a rank of the trainer.
        run: calls it; None where nothing is to be called any more.
        call: the call that is under way.
        alone: since when it trains without another rank, which ended.
        backoff: when to call next, after one that failed.
    """

    name: str
    handle: Any
    trains: bool
    call: Any = None
    alone: float | None = None
    backoff: Backoff = field(default_factory=Backoff)


@dataclass
class Cluster:
    """The actors. Those of a joined cluster outlive this process, and the next one takes them over.

    Attributes:
        engines: of each engine, what it needs.
        trainers: of each of the trainer's ranks, what it needs.
        placement: where they go.
        joined: whether the cluster is there without this process.
        restarts: actors started again, by name.
        finished: whether the trainer took all steps that it was asked for.
    """

    engines: Sequence[EngineSetup]
    trainers: Sequence[TrainerSetup]
    placement: Placement
    joined: bool
    restarts: dict[str, int] = field(default_factory=dict)
    finished: bool = False

    def __post_init__(self) -> None:
        """Nothing is placed yet."""
        self._groups: list[Any] = []
        self._watched: dict[str, _Watched] = {}

    # --- placing ---------------------------------------------------------------------------------------------

    def place(self) -> None:
        """Reserve what the actors need, and make them.

        Raises:
            ConfigError: the cluster does not have it.
        """
        names = group_names(self.placement.groups)
        if self.joined:
            self._remove_others(names)
        for name, bundles in zip(names, self.placement.groups, strict=True):
            self._groups.append(self._group(name if self.joined else "", [dict(bundle) for bundle in bundles]))
        for setup, seat in zip(self.trainers, self.placement.trainers, strict=True):
            self._watch(setup, self._actor(TrainerActor, setup, seat), trains=True)
        for engine, seat in zip(self.engines, self.placement.engines, strict=True):
            self._watch(engine, self._actor(EngineActor, engine, seat), trains=False)

    @property
    def _first(self) -> _Watched:
        """The trainer's first rank."""
        return self._watched[self.trainers[0].name]

    def _watch(self, setup: EngineSetup | TrainerSetup, handle: Any, *, trains: bool) -> None:  # noqa: ANN401
        self._watched[setup.name] = _Watched(setup.name, handle, trains)

    def _remove_others(self, groups: Sequence[str]) -> None:
        """What an earlier process with another configuration left."""
        kept = {*map(actor_name, self.trainers), *map(actor_name, self.engines)}
        # Of the trainer's ranks the first one goes first, and saves what all of them trained.
        for name in sorted(ray.util.list_named_actors(), key=lambda name: (not name.startswith(TRAINERS), name)):
            if name not in kept:
                log.info("%s is of another configuration, and ends", name)
                handle = ray.get_actor(name)
                # The process that called its run is gone.
                _ended(name, handle, handle.wait.remote() if name.startswith(TRAINERS) else None)
                ray.kill(handle)
        for found in ray.util.placement_group_table().values():
            if found["name"] and found["name"] not in groups and found["state"] != "REMOVED":
                remove_placement_group(ray.util.get_placement_group(found["name"]))

    def _group(self, name: str, bundles: list[dict[str, float]]) -> Any:  # noqa: ANN401 (Ray's)
        if name:
            try:
                return ray.util.get_placement_group(name)
            except ValueError:
                pass
        lifetime = {"name": name, "lifetime": "detached"} if name else {}
        group = placement_group(bundles, strategy="PACK", **lifetime)
        if self.joined:
            # Nodes come and go, the trainer's for as long as training is suspended: each actor waits for its own.
            return group
        if not group.wait(_PLACED_SECONDS):
            free = ray.available_resources()
            remove_placement_group(group)
            raise ConfigError(
                f"the Ray cluster has no place for {bundles}: it has {free} free. Add nodes with these resources, or "
                "ask for less (online.engines, online.servingCpus, online.trainingCpus)"
            )
        return group

    def _actor(self, kind: type, setup: EngineSetup | TrainerSetup, seat: Seat) -> Any:  # noqa: ANN401
        strategy = PlacementGroupSchedulingStrategy(self._groups[seat.group], seat.bundle)
        options: dict[str, Any] = {
            "num_cpus": seat.cpus,
            "num_gpus": seat.gpus,
            "max_restarts": -1,
            "max_concurrency": 32,
            "scheduling_strategy": strategy,
            "name": actor_name(setup),
        }
        if self.joined:
            options |= {"lifetime": "detached", "get_if_exists": True}
        return ray.remote(kind).options(**options).remote(setup)

    # --- running ---------------------------------------------------------------------------------------------

    def run(self, desired: Desired) -> None:
        """Call ``run`` of every actor that does not run, and take in how others ended.

        Args:
            desired: what an engine starts with that starts now, where no folder says it.
        """
        first = self._first.handle
        now = time.monotonic()
        for one in self._watched.values():
            if one.call is not None:
                self._take_in(one, now)
            if one.call is None and now >= one.backoff.again and not (self.finished and one.trains):
                arguments = (desired, first) if not one.trains else () if one is self._first else (first,)
                one.call = one.handle.run.remote(*arguments)
                one.backoff.well(now)
        self._end_left(now)

    def _take_in(self, one: _Watched, now: float) -> None:
        done, _ = ray.wait([one.call], timeout=0)
        if not done:
            return
        call, one.call = one.call, None
        alone, one.alone = one.alone, None
        try:
            ended = ray.get(call)
        except (AuroraError, RayError) as error:
            one.backoff.failed(now)
            self.restarts[one.name] = self.restarts.get(one.name, 0) + 1
            log.warning("%s ended and is started again: %s", one.name, _summary(error))
            if isinstance(error, ActorUnavailableError):
                # That is what Ray says of a process that ended, and of one that it cannot reach: it may still wait.
                one.alone = alone
            if one.trains:
                self._leave_alone(now)
            if one.trains and isinstance(error, RayTaskError):
                # What trained has memory, ports and a group of ranks that another attempt must not meet.
                ray.kill(one.handle, no_restart=False)
        else:
            if one is self._first and ended:
                log.info("the trainer took all steps; serving continues")
                self.finished = True

    def _leave_alone(self, now: float) -> None:
        """A rank ended: those that train with it end by themselves, or wait for it in a sum of gradients on GPUs."""
        left = [one for one in self._watched.values() if one.trains and one.alone is None]
        for one, together in zip(left, _answers([one.handle.together.remote() for one in left]), strict=True):
            if together:
                one.alone = now

    def _end_left(self, now: float) -> None:
        """End ranks that waited long enough, but where all train together after all, or the first one saves."""
        ranks = [one for one in self._watched.values() if one.trains]
        left = [one for one in ranks if one.alone is not None and now - one.alone > _ALONE_SECONDS]
        if not left:
            return
        together = _answers([one.handle.together.remote() for one in ranks])
        delayed = None in together or True in _answers([one.handle.saving.remote() for one in ranks])
        complete = all(together)
        for one, grouped in zip(ranks, together, strict=True):
            if complete or grouped is False:
                one.alone = None
            elif one in left and one.alone is not None and (not delayed or now - one.alone > _PATIENCE_SECONDS):
                log.warning("%s still waits for a rank that ended, and is started again", one.name)
                one.alone = None
                ray.kill(one.handle, no_restart=False)

    def reports(self) -> Mapping[str, EngineReport | None]:
        """What each engine reports, None where its actor does not answer."""
        names = [setup.name for setup in self.engines]
        return dict(zip(names, _answers([self._watched[n].handle.report.remote() for n in names]), strict=True))

    def wait_until_served(self, seconds: float, desired: Desired) -> None:
        """Wait until every engine serves.

        Raises:
            EngineError: one did not in time, or failed again and again.
        """

        def served() -> bool:
            self.run(desired)
            if all(found is not None and found.up for found in self.reports().values()):
                return True
            # Without a trainer users are served all the same.
            failed = [x for x in self._watched.values() if x.backoff.failures >= _MOST_FAILURES and not x.trains]
            if failed:
                raise EngineError(f"{failed[0].name} ended {_MOST_FAILURES} times; its log says why")
            return False

        wait("engines that serve", served, seconds)

    def trainer_pid(self) -> int:
        """Process id of the trainer's actor, on its node."""
        found: int = ray.get(self._first.handle.pid.remote(), timeout=_STOP_SECONDS)
        return found

    # --- ending ----------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the trainer with its state saved, then the engines, then what they reserved."""
        for one in self._watched.values():
            _ended(one.name, one.handle, one.call)
            ray.kill(one.handle)
        for group in self._groups:
            remove_placement_group(group)
        self._watched.clear()
        self._groups.clear()


def _summary(error: BaseException) -> str:
    """The error of the actor's own, or what Ray reports of the actor, in a few lines."""
    cause = getattr(error, "cause", None) or error
    return str(cause)[-2000:]


def _ended(name: str, handle: Any, call: Any) -> None:  # noqa: ANN401 (Ray's)
    """Have an actor end what it runs."""
    try:
        ray.get(handle.stop.remote(), timeout=_STOP_SECONDS)
        if call is not None:
            ray.get(call, timeout=_STOP_SECONDS)
    except (AuroraError, RayError) as error:
        log.warning("%s did not end in good order: %s", name, _summary(error))


def _answers(calls: Sequence[Any]) -> list[Any]:
    """What actors answer, None where one does not within two seconds or so."""
    found: list[Any] = []
    deadline = time.monotonic() + 2.0
    for call in calls:
        try:
            found.append(ray.get(call, timeout=max(0.1, deadline - time.monotonic())))
        except (RayActorError, GetTimeoutError):
            found.append(None)
    return found
