"""Data of any form: what a hostile or broken author could store or answer, made of something that is well formed."""

import copy
import random
from typing import Any

JUNK: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 7, 10**9, 2**53 + 1, 2**63 - 1, -(2**63), 0.5, -0.0, 1e308, 5e-324, "", " ", "x",
    "x" * 5000, "0", "-1", "NaN", "Infinity", "1e400", "True", "chat", "\x1b[2J\x1b]0;x\x07", "[/bold][link=x]",
    "\u202e\u2066", "a\nb\r\n", "\N{PILE OF POO}" * 50, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00", "1Gi", "nvidia.com/gpu", [], [None], [[]], {}, {"": None}, {"name": None},
    [{"name": 1}], {"a": {"b": [{"c": {}}]}},
)  # fmt: skip
DEEP = 300


def deep(levels: int = DEEP) -> Any:
    """Nested so often."""
    value: Any = {}
    for _ in range(levels):
        value = {"a": [value]}
    return value


def junk(rng: random.Random) -> Any:
    """Anything at all."""
    return deep() if rng.random() < 0.02 else copy.deepcopy(rng.choice(JUNK))


def mutated(rng: random.Random, value: Any, rate: float = 0.05, levels: int = 60) -> Any:
    """The value with this share of its parts replaced, left out, repeated or added to.

    Args:
        rng: what decides.
        value: JSON.
        rate: of each part.
        levels: of it that are changed; below, it stays as it is.
    """
    if not levels:
        return value
    if rng.random() < rate:
        return junk(rng)
    if isinstance(value, dict):
        out = {name: mutated(rng, part, rate, levels - 1) for name, part in value.items() if rng.random() >= rate}
        if rng.random() < rate:
            out[rng.choice(("maxSurge", "\x1b[1m", "name", "x" * 300, "spec", "__proto__"))] = junk(rng)
        return out
    if isinstance(value, list):
        out_list = [mutated(rng, part, rate, levels - 1) for part in value for _ in range(1 + (rng.random() < rate))]
        rng.shuffle(out_list)
        return out_list
    return value
