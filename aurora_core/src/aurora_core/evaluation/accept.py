"""Accept length on held-out samples, simulated: the verify cycles that serving would have run.

For every row the draft's chain is unrolled, and the number of leading draft tokens that equal what the target
generated is how far a cycle starting there gets. Serving starts its first cycle at the prompt's last token and each
next one where the last ended, so walking the rows this way gives the cycles of a greedy request exactly (up to the
engine's arithmetic), and not an average over rows that no cycle starts at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from aurora_core.drafts.family import Draft, Teacher
from aurora_core.drafts.registry import family_of
from aurora_core.models import vocabulary
from aurora_core.samples.batch import Batch
from aurora_core.samples.schema import Sample


class Cycle(NamedTuple):
    """A verify cycle.

    Attributes:
        accepted: draft tokens that were.
        tried: draft tokens that the target decided on: one more where the cycle ended by a rejection, and none more
            where it ended with the draft steps or with the request.
    """

    accepted: int
    tried: int


@dataclass(frozen=True)
class Accepted:
    """Verify cycles of some requests.

    Attributes:
        requests: the cycles of each, in the order of the samples; a request whose prompt is all of it has none.
    """

    requests: tuple[tuple[Cycle, ...], ...]

    @property
    def per_request(self) -> tuple[tuple[int, int], ...]:
        """(tokens, cycles) of each request; each cycle has its bonus token."""
        return tuple((sum(c.accepted + 1 for c in found), len(found)) for found in self.requests)

    @property
    def length(self) -> float:
        """Accept length: tokens per verify cycle; 1 where there was none."""
        tokens, cycles = (sum(pair) for pair in zip((0, 0), *self.per_request, strict=True))
        return tokens / cycles if cycles else 1.0


def walk(correct: Sequence[Sequence[bool]], first: int, rows: int) -> list[Cycle]:
    """The verify cycles of one request.

    Args:
        correct: per step, per row, whether the chain's token there is what the target generated.
        first: the row of the first cycle, the prompt's last.
        rows: rows of the request; row t's first draft token stands for token t + 2, and token ``rows`` is the last.

    Returns:
        Cycles as the engine counts them: a cycle's tokens are its accepted drafts and one bonus token.
    """
    cycles = []
    row = first
    # Token row + 1 is known; the request ends with token `rows`.
    while row + 1 < rows:
        most = min(len(correct), rows - row - 1)
        accepted = next((k for k in range(most) if not correct[k][row]), most)
        cycles.append(Cycle(accepted, min(accepted + 1, most)))
        row += accepted + 1
    return cycles


def matches(draft: Draft, teacher: Teacher, batch: Batch, steps: int, width: int = 1) -> Tensor:
    """Bool [B, steps, T, width]: whether each proposal is the token that the target generated."""
    proposals = family_of(draft).proposals(draft, teacher, batch, steps, width)
    return torch.stack(
        [
            batch.supervised(step)[..., None] & (each == batch.shifted(step + 2)[..., None])
            for step, each in enumerate(proposals)
        ],
        1,
    )


@torch.no_grad()
def simulate(
    draft: Draft,
    teacher: Teacher,
    samples: Sequence[Sample],
    *,
    steps: int,
    micro_batch: int = 8,
) -> Accepted:
    """Accept length of a draft on samples.

    Args:
        draft: the draft.
        teacher: the draft's, or where the draft has a head of its own that of another draft for the same target.
        samples: held-out requests.
        steps: draft steps of a cycle.
        micro_batch: samples at a time.
    """
    found: list[tuple[Cycle, ...]] = [()] * len(samples)
    order = sorted(range(len(samples)), key=lambda at: samples[at].tokens.shape[0])
    for start in range(0, len(order), micro_batch):
        part = order[start : start + micro_batch]
        batch = Batch.of([samples[at] for at in part], teacher.dtype).to(teacher.device)
        with teacher.autocast():
            correct = matches(draft, teacher, batch, steps)[..., 0].tolist()
        for at, flags, prompt, rows in zip(part, correct, batch.prompt.tolist(), batch.rows.tolist(), strict=True):
            found[at] = tuple(walk(flags, prompt - 1, rows))
    return Accepted(tuple(found))


def coverage(samples: Sequence[Sample], ids: Tensor, vocab_size: int) -> float:
    """Share of generated tokens that a draft vocabulary contains; no draft can accept the others."""
    return vocabulary.coverage(generated_counts(samples, vocab_size), ids)


def generated_counts(samples: Sequence[Sample], vocab_size: int) -> Tensor:
    """int64 [vocab]: how often the target generated each token."""
    counts = torch.zeros(vocab_size, dtype=torch.int64)
    for sample in samples:
        generated = sample.tokens[sample.prompt_tokens :]
        counts.index_add_(0, generated, torch.ones_like(generated))
    return counts
