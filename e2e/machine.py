"""How fast this machine is, and how to make it slower: deadlines that scale, and a CPU without AVX-512 and bf16 units.

AURORA_CPU=avx2 makes every process of the tests, and of the pods that they apply, compute as on a CPU with AVX2 alone.
"""

import os
import time
from functools import cache
from typing import Any

AVX2_ONLY = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
"""What torch and the libraries below it read at their start."""
_REFERENCE_SECONDS = 0.5
"""What the measured work takes on a 2-core machine with bf16 units, where the deadlines were written down."""
_MOST = 5.0


def environment() -> dict[str, str]:
    """Variables of the CPU that AURORA_CPU asks for."""
    chosen = os.environ.get("AURORA_CPU", "")
    if chosen not in {"", "avx2"}:
        raise SystemExit(f"AURORA_CPU={chosen} is not known: leave it out, or set avx2")
    return AVX2_ONLY if chosen else {}


def emulated(body: dict[str, Any]) -> dict[str, Any]:
    """A SpeculatorDeployment whose engine and trainer compute on the CPU that is asked for; changed in place."""
    variables = [{"name": name, "value": value} for name, value in environment().items()]
    if variables:
        for part, container in (("serving", "engine"), ("training", "trainer")):
            template = body["spec"].setdefault(part, {}).setdefault("podTemplate", {})
            containers = template.setdefault("spec", {}).setdefault("containers", [])
            containers.append({"name": container, "env": variables})
    return body


@cache
def slowness() -> float:
    """How many times as long this machine takes as the one that deadlines were written for, from 1 to 5.

    Measured once: matrix products as the engine does them, one thread, in the type that ``auto`` chooses here.
    """
    import torch  # noqa: PLC0415 (seconds of import, where nothing else needs it)
    from aurora_core.arithmetic import training_precision  # noqa: PLC0415

    dtype = training_precision("auto", torch.device("cpu"))
    a, b = torch.ones(256, 576, dtype=dtype), torch.ones(576, 1536, dtype=dtype)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        a @ b
        began = time.perf_counter()
        for _ in range(200):
            a @ b
        seconds = time.perf_counter() - began
    finally:
        torch.set_num_threads(threads)
    factor = min(_MOST, max(1.0, seconds / _REFERENCE_SECONDS))
    print(f"deadlines x {factor:.1f}: 200 matrix products in {dtype} took {seconds:.2f} s", flush=True)
    return factor


def patience(seconds: float) -> float:
    """A deadline for this machine."""
    return seconds * slowness()


if __name__ == "__main__":
    print(*(f"{name}={value}" for name, value in environment().items()))
