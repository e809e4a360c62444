"""Accept length on held-out samples, simulated: the verify cycles that serving would have run.

For every row the draft's chain is unrolled, and the number of leading draft tokens that equal what the target
generated is how far a cycle starting there gets. Serving starts its first cycle at the prompt's last token and each
next one where the last ended, so walking the rows this way gives the cycles of a greedy request exactly (up to the
engine's arithmetic), and not an average over rows that no cycle starts at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aurora_core.drafts.family import Draft, Teacher
from aurora_core.drafts.registry import family_of
from aurora_core.models import vocabulary
from aurora_core.samples.batch import Batch
from aurora_core.samples.schema import Sample


@dataclass(frozen=True)
class Accepted:
    """Verify cycles of some requests.

    Attributes:
        tokens: emitted in the cycles, each cycle's bonus token included.
        cycles: how many cycles.
        per_request: (tokens, cycles) of each request.
    """

    tokens: int
    cycles: int
    per_request: tuple[tuple[int, int], ...]

    @property
    def length(self) -> float:
        """Accept length: tokens per verify cycle; 1 where there was none."""
        return self.tokens / self.cycles if self.cycles else 1.0


def walk(correct: Sequence[Sequence[bool]], first: int, rows: int) -> tuple[int, int]:
    """The verify cycles of one request.

    Args:
        correct: per step, per row, whether the chain's token there is what the target generated.
        first: the row of the first cycle, the prompt's last.
        rows: rows of the request; row t's first draft token stands for token t + 2, and token ``rows`` is the last.

    Returns:
        Tokens and cycles, as the engine counts them: a cycle's tokens are its accepted drafts and one bonus token.
    """
    tokens = cycles = 0
    row = first
    # Token row + 1 is known; the request ends with token `rows`.
    while row + 1 < rows:
        accepted = 0
        while accepted < len(correct) and row + accepted + 1 < rows and correct[accepted][row]:
            accepted += 1
        tokens += accepted + 1
        cycles += 1
        row += accepted + 1
    return tokens, cycles


def _correct(draft: Draft, teacher: Teacher, batch: Batch, steps: int) -> Tensor:
    """Bool [B, steps, T]: the draft's proposal is the token that the target generated."""
    proposals = family_of(draft).proposals(draft, teacher, batch, steps)
    return torch.stack(
        [batch.supervised(step) & (each == batch.shifted(step + 2)) for step, each in enumerate(proposals)], 1
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
    counts: list[tuple[int, int]] = []
    ordered = sorted(samples, key=lambda sample: sample.tokens.shape[0])
    for start in range(0, len(ordered), micro_batch):
        batch = Batch.of(ordered[start : start + micro_batch], teacher.dtype).to(teacher.device)
        with teacher.autocast():
            correct = _correct(draft, teacher, batch, steps).tolist()
        for flags, prompt, rows in zip(correct, batch.prompt.tolist(), batch.rows.tolist(), strict=True):
            if prompt < rows:
                counts.append(walk(flags, prompt - 1, rows))
    return Accepted(sum(t for t, _ in counts), sum(v for _, v in counts), tuple(counts))


def coverage(samples: Sequence[Sample], ids: Tensor, vocab_size: int) -> float:
    """Share of generated_counts tokens that a draft vocabulary holds; no draft can accept the others."""
    return vocabulary.coverage(generated_counts(samples, vocab_size), ids)


def generated_counts(samples: Sequence[Sample], vocab_size: int) -> Tensor:
    """int64 [vocab]: how often the target generated each token."""
    counts = torch.zeros(vocab_size, dtype=torch.int64)
    for sample in samples:
        generated = sample.tokens[sample.prompt_tokens :]
        counts.index_add_(0, generated, torch.ones_like(generated))
    return counts
