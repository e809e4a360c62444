"""Whether the head that was read of the target's files is the one that the engine serves with.

A wrong head gives a wrong teacher, and nothing in training shows it: losses fall as ever. What the target generated
does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aurora_core.errors import TrainingError
from aurora_core.models.target import Target, capped
from aurora_core.samples.schema import Sample

_SAMPLES = 32
_ROWS = 16
_CHUNK = 8192
_MOST = 0.5
_FEWEST = 5


@dataclass(frozen=True)
class Agreement:
    """How the head explains what was generated.

    Attributes:
        rows: generated tokens that were compared.
        agreed: those that are the head's likeliest at their row.
        expected: how many those would be, were every token drawn from the head's distribution at temperature 1.
    """

    rows: int
    agreed: int
    expected: float

    @property
    def fits(self) -> bool:
        """Whether the head can have generated this: greedily most of it, or sampled about as much as it should."""
        return self.agreed > _MOST * self.rows or self.agreed >= max(_FEWEST, _MOST * self.expected)


def _rows(sample: Sample) -> tuple[Tensor, Tensor]:
    """Last states [n, hidden] and the tokens generated at them [n], spread over the answer."""
    first, last = sample.prompt_tokens - 1, sample.tokens.shape[0] - 2
    row = torch.linspace(first, last, min(_ROWS, last - first + 1)).round().long()
    return sample.last[row], sample.tokens[row + 1]


@torch.no_grad()
def agreement(target: Target, samples: Sequence[Sample], device: torch.device) -> Agreement:
    """Compare the head's likeliest tokens with those that were generated, at some rows of some samples.

    Args:
        target: whose head it is.
        samples: captured requests; the first of them are used.
        device: where to compute; the head goes there piece by piece.
    """
    parts = [_rows(sample) for sample in samples[:_SAMPLES]]
    states = torch.cat([states for states, _ in parts]).to(device, torch.float32)
    generated = torch.cat([tokens for _, tokens in parts]).to(device)
    likeliest = torch.zeros_like(generated)
    most = torch.full(generated.shape, -torch.inf, device=device)
    total = most.clone()
    for start in range(0, target.vocab_size, _CHUNK):
        head = target.lm_head[start : start + _CHUNK].to(device, torch.float32)
        logits = capped(F.linear(states, head), target.soft_cap)
        top, at = logits.max(-1)
        likeliest = torch.where(top > most, at + start, likeliest)
        most = torch.maximum(most, top)
        total = torch.logaddexp(total, logits.logsumexp(-1))
    return Agreement(generated.numel(), int((likeliest == generated).sum()), float((most - total).exp().sum()))


def check(target: Target, samples: Sequence[Sample], device: torch.device) -> None:
    """Refuse to train against a head that does not explain what was generated; see :func:`agreement`.

    Raises:
        TrainingError: it does not.
    """
    found = agreement(target, samples, device)
    if found.fits:
        return
    message = (
        f"the head of {target.path} as it is read here is not the one that the engine serves with: of {found.rows} "
        f"generated tokens {found.agreed} are the likeliest of head times last state, where more than half should be, "
        f"or {found.expected:.0f} of sampled ones. Nothing was trained. The engine serves other weights than these "
        "files, or scales its logits in a way that is not known here: report the target's config.json"
    )
    raise TrainingError(message)
