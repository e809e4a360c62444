"""A smaller draft vocabulary: fewer rows of the head for each draft step, and fewer tokens that can be proposed."""

from collections.abc import Iterator

import torch
from torch import Tensor

from aurora_core.drafts.family import Draft
from aurora_core.drafts.registry import family_of
from aurora_core.errors import ConfigError
from aurora_core.models import vocabulary


def _rows(draft: Draft, counts: Tensor, size: int) -> Tensor:
    """Rows of the head that stand for the most counted of the tokens that the draft can propose, int64 ascending."""
    return vocabulary.choose(counts[draft.ids], size)


def _sizes(size: int, most: int) -> list[int]:
    return sorted({*(found for found in (size // 4, size // 2, size, 2 * size, 4 * size) if 0 < found < most), most})


def coverages(draft: Draft, counts: Tensor, size: int) -> Iterator[tuple[int, float]]:
    """Share of the counted tokens that a draft could propose, at several sizes around one and at its present size.

    Args:
        draft: whose vocabulary is reduced.
        counts: int64 [target vocabulary], how often each token was counted.
        size: of the vocabulary that is asked for.
    """
    for found in _sizes(size, draft.ids.numel()):
        yield found, vocabulary.coverage(counts, draft.ids[_rows(draft, counts, found)])


def reduced(draft: Draft, counts: Tensor, size: int) -> Draft:
    """The same draft, able to propose the most counted of its tokens alone.

    Args:
        draft: left as it is.
        counts: int64 [target vocabulary], how often each token was counted.
        size: of the new vocabulary.

    Raises:
        ConfigError: it has no vocabulary of its own, or none that is larger; or nothing was counted.
    """
    if draft.head is None:
        raise ConfigError(f"a draft of {draft.algorithm} has no vocabulary of its own: it uses its target's head")
    most = draft.ids.numel()
    if not 0 < size < most:
        raise ConfigError(f"the draft can propose {most} tokens: name a size from 1 to {most - 1}, not {size}")
    if not int(counts[draft.ids].sum()):
        raise ConfigError("nothing that the draft can propose was counted: count tokens of this target's answers")
    with torch.no_grad():
        out: Draft = family_of(draft).with_rows(draft, _rows(draft, counts, size))
    return out
