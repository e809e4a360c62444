"""How a trainer of these tests reads a sample."""

import torch
from aurora_core.samples.schema import decode


def read(payload, made_by, **changes):
    expected = {"vocab_size": 64, "aux_width": 96, "hidden": 32, "dtypes": (torch.float32,)}
    return decode(payload, **{"target": made_by.fingerprint, **expected, **changes})
