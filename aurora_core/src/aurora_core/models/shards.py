"""Which safetensors files of a checkpoint are the model's: those that its index names, where it has one.

So SGLang reads it. Others may lie there as well, of a save before or in another form, with tensors of the same names.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from aurora_core import regular
from aurora_core.errors import ConfigError

INDEX = "model.safetensors.index.json"
_INDEX_BYTES = 1 << 28
_MOST_NAMED = 3


def _named(path: Path) -> frozenset[str]:
    """The files that an index names."""
    try:
        names = frozenset(json.loads(regular.read(regular.led_to(path), _INDEX_BYTES))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read: {error!s:.200}; fetch it again") from error
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{path} names no files: fetch it again")
    return names


def of_index(folder: Path, found: Sequence[Path]) -> list[Path]:
    """Those of the files in a checkpoint's folder that its index names; all of them where there is no index.

    Raises:
        ConfigError: the index cannot be read, or names files that are not there.
    """
    path = folder / INDEX
    if not path.exists():
        return list(found)
    names = _named(path)
    missing = sorted(names - {shard.name for shard in found})
    if missing:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        listed = ", ".join(missing[:_MOST_NAMED])
        raise ConfigError(f"{folder} lacks {listed:.300}{more}, which {INDEX} names: fetch it again")
    return [shard for shard in found if shard.name in names]


def twice(name: str, one: Path, other: Path) -> ConfigError:
    """The error for a tensor that two files have: which of them is served is chance."""
    return ConfigError(f"{name} is in {one} and in {other.name}: remove the file that is not the model's")
