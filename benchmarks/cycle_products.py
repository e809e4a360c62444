"""Products with SmolLM2's matrices: as torch computes them, and as the engine does on a CPU, plain and packed."""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from aurora_core.arithmetic import compute_dtype
from aurora_core.engine.cpu_products import packed, product
from torch import Tensor

_LAYERS = 30
_SHAPES = {(960, 576): _LAYERS, (576, 576): _LAYERS, (3072, 576): _LAYERS, (576, 1536): _LAYERS, (49152, 576): 1}
"""Of a pass: out and in of each matrix, and how many of them."""
_ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 64)
_REPEATS = 9
_Pair = tuple[Tensor, Tensor]


def _plain(x: Tensor, pair: _Pair) -> Tensor:
    out = product(x, pair[0])
    return F.linear(x, pair[0]) if out is None else out


_WAYS: dict[str, Callable[[Tensor, _Pair], Tensor | None]] = {
    "torch": lambda x, pair: F.linear(x, pair[0]),
    "plain": _plain,
    "packed": lambda x, pair: product(x, pair[0], None, pair[1]),
}


def _best(compute: Callable[[Tensor, _Pair], Tensor | None], x: Tensor, pairs: list[_Pair]) -> float:
    """Milliseconds of processor time of the quickest of several rounds."""
    taken = []
    for _ in range(_REPEATS):
        began = time.thread_time()
        for pair in pairs:
            compute(x, pair)
        taken.append(time.thread_time() - began)
    return 1e3 * min(taken)


def table() -> dict[str, Any]:
    """The type that serving computes in here, and milliseconds of all products of a pass, by rows, of each way."""
    torch.set_num_threads(1)
    name = compute_dtype("auto", torch.device("cpu"), None)
    dtype = getattr(torch, name)
    found = {way: dict.fromkeys(_ROWS, 0.0) for way in _WAYS}
    for (out, width), count in _SHAPES.items():
        weights = [torch.randn(out, width).to(dtype) for _ in range(count)]
        pairs = [(weight, packed(weight)) for weight in weights]
        for rows in _ROWS:
            x = torch.randn(rows, width).to(dtype)
            for way, compute in _WAYS.items():
                found[way][rows] += _best(compute, x, pairs)
    return {"dtype": name, **{way: {rows: round(ms, 1) for rows, ms in one.items()} for way, one in found.items()}}
