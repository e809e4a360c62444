"""What a matrix product takes in bf16 and in fp32 on this CPU, by rows: few as in serving, many as in training.

Weights of 120 matrices in turn, so that they come from memory, as an engine's do; one thread, CPU time, the best of
three rounds. ``precision: auto`` takes what is faster at the most rows, ``dtype: auto`` bf16 wherever there are units.
"""

import time

import torch
from aurora_core.arithmetic import compute_dtype, has_bf16_units, short_name, training_precision
from bench import arguments, report

WIDTH, OUT, MATRICES = 576, 1536, 120
CPU = torch.device("cpu")


def milliseconds(rows: int, dtype: torch.dtype) -> float:
    """Of one product."""
    states = torch.ones(rows, WIDTH, dtype=dtype)
    weights = [torch.ones(OUT, WIDTH, dtype=dtype) for _ in range(MATRICES)]
    best = float("inf")
    for _ in range(3):
        began = time.thread_time()
        for weight in weights:
            torch.nn.functional.linear(states, weight)
        best = min(best, time.thread_time() - began)
    return 1e3 * best / MATRICES


def main() -> None:
    """Measure and report."""
    arguments(__doc__ or "").parse_args()
    torch.set_num_threads(1)
    for rows in (1, 4, 16, 64, 256):
        bf16, fp32 = (milliseconds(rows, dtype) for dtype in (torch.bfloat16, torch.float32))
        report(
            "precision", rows=rows, bf16_ms=round(bf16, 3), fp32_ms=round(fp32, 3), bf16_over_fp32=round(bf16 / fp32, 2)
        )
    report(
        "precision",
        bf16_units=has_bf16_units(CPU),
        serving=compute_dtype("auto", CPU, "bfloat16"),
        training=short_name(training_precision("auto", CPU)),
    )


if __name__ == "__main__":
    main()
