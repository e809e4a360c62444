"""Rope scalings whose tables training and SGLang compute alike, and the numbers that define them."""

from collections.abc import Mapping
from typing import Any

from aurora_core.errors import ConfigError

KEYS: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "yarn": ("factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "truncate"),
}
"""By type. Magnitudes of other names (``attention_factor``, ``attn_factor``) are read in two ways."""
_DEFAULT_THETA = 10000.0
_MOST = 2.0**53
"""A table is made of floating-point numbers, which count integers up to here."""


def _check(name: str, value: object) -> None:
    """Whether it is a number above 0 that tables can hold; a factor below 1 would make them shorter than positions."""
    least = 1 if name == "factor" else 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < _MOST or value == 0:
        raise ConfigError(f"rope's {name} is {value!r:.60}, not a number {'from 1' if least else 'above 0'}")


def checked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """``rope_parameters`` of a known type, which make tables of finite numbers, as long as positions are.

    Args:
        parameters: as transformers has them; ``rope_theta`` may be missing or null, and then is 10000.

    Raises:
        ConfigError: a number is none, or out of range.
    """
    found = {name: value for name, value in parameters.items() if value is not None}
    found.setdefault("rope_theta", _DEFAULT_THETA)
    for name, value in found.items():
        if name == "truncate" and not isinstance(value, bool):
            raise ConfigError(f"rope's truncate is {value!r:.60}, neither true nor false")
        if name not in {"rope_type", "truncate"}:
            _check(name, value)
    low, high = found.get("low_freq_factor"), found.get("high_freq_factor")
    if low is not None and high is not None and high <= low:
        raise ConfigError(f"rope's high_freq_factor {high} is not above low_freq_factor {low}")
    return found
