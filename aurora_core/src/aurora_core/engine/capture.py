"""Capture: from the target's forward pass to a finished request's sample.

Which requests are captured is known from their ids before their first pass, so that nothing of any other is copied.
Three moments, all on the engine's own thread:

1. *stage*, right after the target's forward pass was launched: remember (on a GPU: start copying to the host)
   the states that the pass leaves in its output. Under CUDA graphs these are the graph's own output buffers, and
   the copy is ordered before the next replay.
2. *commit*, when the scheduler processes that pass's result: put the rows at their KV slots, and forget what was at
   the slots of requests that are not captured.
3. *collect*, when a request gives its KV slots back: gather its rows and hand them to the sender. Where the beginning
   of its prompt was cached by a request that was not captured, the sample is the rest of the request.
"""

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from aurora_core.engine.pace import PAUSED, SLOWED
from aurora_core.engine.rows import RowPool
from aurora_core.engine.sender import Sender
from aurora_core.samples.schema import Sample

_ATTRIBUTE = "aurora_staged"


@dataclass(frozen=True)
class Staged:
    """States of one forward pass on their way to the row pool.

    Attributes:
        slots, tokens: [n], where each row belongs and which token it is of.
        mine: bool [n], which rows are of requests that are captured.
        aux, last: [m, width], those rows; None where there are none.
        copied: on a GPU, the event after which the host copies are complete.
    """

    slots: Tensor
    tokens: Tensor
    mine: Tensor
    aux: Tensor | None
    last: Tensor | None
    copied: torch.cuda.Event | None


@dataclass(frozen=True)
class Chance:
    """Which requests are captured: by chance as nobody else has the key, and one id always alike."""

    key: bytes

    def takes(self, request: str, rate: float) -> bool:
        """Whether a request is among this share; it is among every larger one too."""
        digest = blake2b(request.encode(errors="replace"), digest_size=8, key=self.key).digest()
        return int.from_bytes(digest) < rate * 2**64


def _to_host(tensor: Tensor) -> Tensor:
    if tensor.device.type == "cpu":
        return tensor
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


class Capture:
    """The engine's captured states and the requests made of them."""

    def __init__(self, sender: Sender, *, target: str, rate: float, max_tokens: int) -> None:
        self.sender = sender
        self.rate = rate
        self.mismatches: Counter[str] = Counter()
        self.cut = 0
        self._chance = Chance(os.urandom(16))
        self._target = target
        self._max_tokens = max_tokens
        self._pool: RowPool | None = None

    @property
    def pool(self) -> RowPool | None:
        """The rows, once a forward pass has shown how wide they are."""
        return self._pool

    def stage(
        self, output: Any, slots: Tensor, tokens: Tensor, requests: Sequence[tuple[str, int]], pool_slots: int
    ) -> None:
        """Remember a pass's states on its output object.

        Args:
            output: SGLang's LogitsProcessorOutput of a target pass that captured hidden states in full.
            slots: [n], the KV slot of each token.
            tokens: [n], the tokens fed to the pass.
            requests: id of each request and how many of the rows are its own, in the rows' order.
            pool_slots: slots of the KV pool.
        """
        mine = [self._chance.takes(request, self.rate) for request, _ in requests]
        if any(mine) and not self._fits(output, slots, tokens, requests):
            mine = [False] * len(mine)
        if not any(mine) and self._pool is None:
            return
        rows = torch.zeros(slots.shape[0], dtype=torch.bool)
        aux: Tensor | None = None
        last: Tensor | None = None
        if any(mine):
            rows = torch.tensor(mine).repeat_interleave(torch.tensor([count for _, count in requests]))
            aux, last = self._states(output, rows, pool_slots)
        host_slots, host_tokens = _to_host(slots), _to_host(tokens)
        event = None
        if slots.device.type == "cuda":
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        setattr(output, _ATTRIBUTE, Staged(host_slots, host_tokens, rows, aux, last, event))

    def _states(self, output: Any, rows: Tensor, pool_slots: int) -> tuple[Tensor, Tensor]:
        """States of some of a pass's rows, bool [n], on the host or on their way there."""
        aux, last = output.hidden_states, output.last_hidden_states
        if self._pool is None:
            self._pool = RowPool(pool_slots, aux.shape[1], last.shape[1], aux.dtype)
        if not rows.all():
            index = rows.nonzero()[:, 0].to(aux.device, non_blocking=True)
            aux, last = aux.index_select(0, index), last.index_select(0, index)
        return _to_host(aux), _to_host(last)

    def _fits(self, output: Any, slots: Tensor, tokens: Tensor, requests: Sequence[tuple[str, int]]) -> bool:
        """Whether every row's token, slot and request are known; counts a pass of which they are not."""
        aux, last = output.hidden_states, output.last_hidden_states
        if aux is None or last is None:
            self.mismatches["not_captured"] += 1
            return False
        rows = {one.shape[0] for one in (aux, last, tokens, slots)} | {sum(count for _, count in requests)}
        if len(rows) > 1:
            self.mismatches["rows"] += 1
        return len(rows) == 1

    def commit(self, output: Any, accept_index: Tensor | None) -> None:
        """Put a processed pass's rows at their slots.

        Args:
            output: the object given to :meth:`stage`.
            accept_index: for a token tree, [B, depth] the accepted nodes, whose KV the engine moved to the front
                of each request's window; None for a chain, where accepted tokens are at the front already.
        """
        staged: Staged | None = getattr(output, _ATTRIBUTE, None)
        if staged is None or self._pool is None:
            return
        delattr(output, _ATTRIBUTE)
        if staged.copied is not None:
            staged.copied.synchronize()
        mine, aux, last, tokens = staged.mine, staged.aux, staged.last, staged.tokens
        if not mine.all():
            # What these slots held is another token's now, also where that is the same word.
            self._pool.forget(staged.slots[~mine])
        if aux is None or last is None:
            return
        if accept_index is not None:
            order = front_order(accept_index.cpu(), staged.slots.shape[0])
            own = (mine.cumsum(0) - 1)[order[mine]]
            aux, last, tokens = aux[own], last[own], tokens[order]
        self._pool.put(staged.slots[mine], tokens[mine], aux, last)

    def collect(self, request: str, tokens: Tensor, prompt_tokens: int, slots: Tensor, version: int) -> None:
        """Make a sample of a finished request.

        Args:
            request: its id.
            tokens: int64 [L], prompt and answer.
            prompt_tokens: length of the prompt.
            slots: [L - 1], the KV slots of all tokens but the last.
            version: the live draft.
        """
        if not self._chance.takes(request, self.rate):
            return
        length = tokens.shape[0]
        if self.sender.pace.paused:
            self.sender.drop(PAUSED)
        elif not self._chance.takes(f"pace/{request}", self.sender.pace.share):
            self.sender.drop(SLOWED)
        elif length - prompt_tokens < 2:  # noqa: PLR2004 (one token leaves nothing to learn from)
            self.sender.drop("answer_too_short")
        elif length > self._max_tokens:
            self.sender.drop("too_long")
        elif self._pool is None or (known := self._pool.known(slots, tokens[:-1])) < length - prompt_tokens:
            self.sender.drop("rows_missing")
        elif not self.sender.has_room():
            self.sender.drop("queue_full")
        else:
            gone = length - 1 - known
            self.cut += gone > 0
            aux, last = self._pool.take(slots[gone:])
            prompt, now = prompt_tokens - gone, time.time()
            self.sender.offer(Sample(request, tokens[gone:], prompt, aux, last, version, self._target, captured=now))


def front_order(accept_index: Tensor, rows: int) -> Tensor:
    """The order that brings each request's accepted nodes to the front of its window of rows.

    Args:
        accept_index: [B, depth], flat indices of accepted nodes, -1 where none.
        rows: B windows' rows in all.

    Returns:
        int64 [rows].
    """
    batch, depth = accept_index.shape
    order = torch.arange(rows).view(batch, -1)
    accepted = accept_index.to(torch.int64)
    order[:, :depth] = torch.where(accepted < 0, order[:, :depth], accepted)
    return order.view(-1)
