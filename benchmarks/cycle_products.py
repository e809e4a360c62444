"""Products of a few fp32 rows with SmolLM2's matrices: as torch computes them, and as the engine does on a CPU."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from aurora_core.engine.few_rows import product
from torch import Tensor

_LAYERS = 30
_SHAPES = {(960, 576): _LAYERS, (576, 576): _LAYERS, (3072, 576): _LAYERS, (576, 1536): _LAYERS, (49152, 576): 1}
"""Of a pass: out and in of each matrix, and how many of them."""
_ROWS = (1, 2, 3, 4, 5, 6, 8, 12, 16)
_REPEATS = 9


def _best(compute: Callable[[Tensor, Tensor], Tensor], x: Tensor, weights: list[Tensor]) -> float:
    """Milliseconds of processor time of the quickest of several rounds."""
    taken = []
    for _ in range(_REPEATS):
        began = time.thread_time()
        for weight in weights:
            compute(x, weight)
        taken.append(time.thread_time() - began)
    return 1e3 * min(taken)


def table() -> dict[str, dict[int, float]]:
    """Milliseconds of all products of a pass, by rows, of each way."""
    torch.set_num_threads(1)
    ways = {"linear": F.linear, "product": product}
    found = {name: dict.fromkeys(_ROWS, 0.0) for name in ways}
    for (out, width), count in _SHAPES.items():
        weights = [torch.randn(out, width) for _ in range(count)]
        for rows in _ROWS:
            x = torch.randn(rows, width)
            for name, compute in ways.items():
                found[name][rows] += _best(compute, x, weights)
    return {name: {rows: round(taken, 1) for rows, taken in by_rows.items()} for name, by_rows in found.items()}
