"""Capture: from the target's forward pass to a finished request's sample.

Three moments, all on the engine's own thread:

1. *stage*, right after the target's forward pass was launched: remember (on a GPU: start copying to the host)
   the states that the pass leaves in its output. Under CUDA graphs these are the graph's own output buffers, and
   the copy is ordered before the next replay.
2. *commit*, when the scheduler processes that pass's result: put the rows at their KV slots.
3. *collect*, when a request gives its KV slots back: gather its rows and hand them to the sender.
"""

import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aurora_core.engine.pace import PAUSED, SLOWED
from aurora_core.engine.rows import RowPool
from aurora_core.engine.sender import Sender
from aurora_core.samples.schema import Sample

_ATTRIBUTE = "aurora_staged"
_CHANCE = random.SystemRandom()


@dataclass(frozen=True)
class Staged:
    """States of one forward pass on their way to the row pool.

    Attributes:
        slots, tokens: [n], where each row belongs and which token it is of.
        aux, last: [n, width].
        copied: on a GPU, the event after which the host copies are complete.
    """

    slots: Tensor
    tokens: Tensor
    aux: Tensor
    last: Tensor
    copied: torch.cuda.Event | None


def chosen(rate: float) -> bool:
    """Whether a request is captured: by chance alone, as clients choose the ids of their requests."""
    return _CHANCE.random() < rate


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
        self._target = target
        self._max_tokens = max_tokens
        self._pool: RowPool | None = None

    @property
    def pool(self) -> RowPool | None:
        """The rows, once a forward pass has shown how wide they are."""
        return self._pool

    def stage(self, output: Any, slots: Tensor, tokens: Tensor, pool_slots: int) -> None:
        """Remember a pass's states on its output object.

        Args:
            output: SGLang's LogitsProcessorOutput of a target pass that captured hidden states in full.
            slots: [n], the KV slot of each token.
            tokens: [n], the tokens fed to the pass.
            pool_slots: slots of the KV pool.
        """
        if self.rate <= 0:
            return
        aux, last = output.hidden_states, output.last_hidden_states
        if aux is None or last is None:
            self.mismatches["not_captured"] += 1
            return
        count = slots.shape[0]
        if not aux.shape[0] == last.shape[0] == tokens.shape[0] == count:
            self.mismatches["rows"] += 1
            return
        if self._pool is None:
            self._pool = RowPool(pool_slots, aux.shape[1], last.shape[1], aux.dtype)
        event = None
        host = (_to_host(slots), _to_host(tokens), _to_host(aux), _to_host(last))
        if aux.device.type == "cuda":
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        setattr(output, _ATTRIBUTE, Staged(*host, event))

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
        aux, last, tokens = staged.aux, staged.last, staged.tokens
        if accept_index is not None:
            order = front_order(accept_index.cpu(), staged.slots.shape[0])
            aux, last, tokens = aux[order], last[order], tokens[order]
        self._pool.put(staged.slots, tokens, aux, last)

    def collect(self, request: str, tokens: Tensor, prompt_tokens: int, slots: Tensor, version: int) -> None:
        """Make a sample of a finished request.

        Args:
            request: its id.
            tokens: int64 [L], prompt and answer.
            prompt_tokens: length of the prompt.
            slots: [L - 1], the KV slots of all tokens but the last.
            version: the live draft.
        """
        if not chosen(self.rate):
            return
        length = tokens.shape[0]
        if self.sender.pace.paused:
            self.sender.drop(PAUSED)
        elif not chosen(self.sender.pace.share):
            self.sender.drop(SLOWED)
        elif length - prompt_tokens < 2:  # noqa: PLR2004 (one token leaves nothing to learn from)
            self.sender.drop("answer_too_short")
        elif length > self._max_tokens:
            self.sender.drop("too_long")
        elif self._pool is None or self._pool.known(slots, tokens[:-1]) < length - 1:
            self.sender.drop("rows_missing")
        elif not self.sender.has_room():
            self.sender.drop("queue_full")
        else:
            aux, last = self._pool.take(slots)
            self.sender.offer(
                Sample(request, tokens, prompt_tokens, aux, last, version, self._target, captured=time.time())
            )


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
