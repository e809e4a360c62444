"""The forward KL of draft and target: ``reference`` says what it is, ``fused`` computes it without waste."""

from aurora_core.losses.fused import forward_kl as fused
from aurora_core.losses.reference import TargetRows, forward_kl

__all__ = ["TargetRows", "forward_kl", "fused"]
