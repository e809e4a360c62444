"""Hidden states of every token that the engine has in its KV cache, on the host, by KV slot.

The KV cache already says which slot has which token of which request, through chunked prefill, shared
prefixes, verification of drafts, retraction and reuse. Rows kept by the same slots inherit all of that: a
request's states are the rows at its slots. Each row also remembers its token, and a request is only collected
where every one of its tokens agrees, so a row can be missing but never be another token's.
"""

import torch
from torch import Tensor

_EMPTY = -1


class RowPool:
    """Rows [slots, width] on the host. Untouched rows cost no memory, only address space."""

    def __init__(self, slots: int, aux_width: int, hidden: int, dtype: torch.dtype) -> None:
        self._rows = torch.empty((slots, aux_width + hidden), dtype=dtype)
        self._tokens = torch.full((slots,), _EMPTY, dtype=torch.int64)
        self.aux_width = aux_width

    def put(self, slots: Tensor, tokens: Tensor, aux: Tensor, last: Tensor) -> None:
        """Keep rows.

        Args:
            slots: [n], distinct but for padding.
            tokens: [n], the token fed to the target at each row.
            aux: [n, aux width].
            last: [n, hidden].
        """
        self._rows[slots, : self.aux_width] = aux.to(self._rows.dtype)
        self._rows[slots, self.aux_width :] = last.to(self._rows.dtype)
        self._tokens[slots] = tokens.to(torch.int64)

    def forget(self, slots: Tensor) -> None:
        """These slots, [n], hold tokens now whose rows are not kept."""
        self._tokens[slots] = _EMPTY

    def known(self, slots: Tensor, tokens: Tensor) -> int:
        """How many of a request's last tokens have their own row, [n] each."""
        equal = self._tokens[slots] == tokens
        return int(equal.flip(0).cumprod(0).sum())

    def take(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Copies of the rows at [n] slots: aux [n, aux width] and last [n, hidden]."""
        rows = self._rows.index_select(0, slots)
        return rows[:, : self.aux_width], rows[:, self.aux_width :]
