"""The names of actors and placement groups in their Ray cluster, by which another driver finds them again."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version

from aurora_core.online.engine_actor import EngineSetup
from aurora_core.online.trainer_actor import TrainerSetup


def _digest(of: object) -> str:
    return hashlib.sha256(repr(of).encode()).hexdigest()[:12]


def group_names(groups: Sequence[object]) -> list[str]:
    """A name for each placement group: the same one whatever other kinds there are."""
    digests = [_digest(bundles) for bundles in groups]
    return [f"aurora-{digest}-{digests[:n].count(digest)}" for n, digest in enumerate(digests)]


def actor_name(setup: EngineSetup | TrainerSetup) -> str:
    """An actor's name: one for each configuration of it and each release, whose actors have other methods."""
    return f"{setup.name}-{_digest((version('aurora-core'), setup))}"
