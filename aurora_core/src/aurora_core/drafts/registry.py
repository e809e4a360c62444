"""From an algorithm's name to its family, which is imported when it is first asked for."""

import importlib
from typing import Any

from aurora_core.config.algorithms import FAMILIES
from aurora_core.drafts.family import Draft, DraftFamily
from aurora_core.errors import ConfigError


def family(algorithm: str) -> DraftFamily[Any]:
    """The family of an algorithm.

    Raises:
        ConfigError: it is not registered.
    """
    found = FAMILIES.get(algorithm)
    if found is None:
        raise ConfigError(f"no draft family {algorithm!r:.60} is known here; there are {', '.join(FAMILIES)}")
    of_module: DraftFamily[Any] = importlib.import_module(found.module).FAMILY
    return of_module


def family_of(draft: Draft) -> DraftFamily[Any]:
    """The family of a draft.

    Raises:
        ConfigError: it is not registered.
    """
    return family(draft.algorithm)
