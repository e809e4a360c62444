"""Ranks as torch's launcher starts them: a process group, gloo for what is on the CPU and NCCL for gradients on GPUs.

Rank 0 announces what is done (:class:`Order`), point to point, as plain tensors without any pickle; the followers
receive it and take part in the sums that it implies. All that is small goes over gloo, whose connection to a process
that died ends at once, so that ranks wait for a dead one only inside of a sum of gradients on GPUs; there the launcher
ends them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import Store  # type: ignore[attr-defined]  # exported without being declared

from aurora_core.arithmetic import short_name
from aurora_core.errors import ConfigError, TrainingError
from aurora_core.protocol.trainer import LOST_RANK
from aurora_core.samples.schema import Sample
from aurora_core.training.parallel import ALONE, Ranks, shares

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for one that is there: rank 0 evaluates, publishes and saves while the others wait."""

_RANK, _SIZE, _LOCAL = "RANK", "WORLD_SIZE", "LOCAL_RANK"
"""Environment variables that torch's launcher sets."""
_NEEDED = (_RANK, "MASTER_ADDR", "MASTER_PORT")


class Kind(Enum):
    """What rank 0 announces."""

    START = "start"
    """Make the draft and the optimizer that follow."""
    STEP = "step"
    """Take part in an optimizer step with the samples that follow."""
    VOCABULARY = "vocabulary"
    """Choose the vocabulary that follows."""
    POLL = "poll"
    """Say whether you were asked to end."""
    END = "end"
    """End."""


@dataclass(frozen=True)
class Order:
    """An announcement of rank 0.

    Attributes:
        kind: what to do.
        text: what belongs to it.
        tensors: the same, by name, on the CPU.
    """

    kind: Kind
    text: str
    tensors: Mapping[str, Tensor]


def _bytes(tensor: Tensor) -> Tensor:
    """The memory of a contiguous tensor, uint8 [bytes]."""
    return tensor.reshape(-1).view(torch.uint8)


def packed_share(share: Sequence[Sequence[Sample]]) -> dict[str, Tensor]:
    """What training needs of a share's samples, by number of micro-batch and sample."""
    return {
        f"{m}.{s}.{name}": tensor.contiguous()
        for m, micro in enumerate(share)
        for s, sample in enumerate(micro)
        for name, tensor in (
            ("prompt", torch.tensor([sample.prompt_tokens])),
            ("tokens", sample.tokens),
            ("aux", sample.aux),
            ("last", sample.last),
        )
    }


def unpacked_share(tensors: Mapping[str, Tensor]) -> list[list[Sample]]:
    """The samples of :func:`packed_share`, without their names."""
    share: list[list[Sample]] = []
    while f"{len(share)}.0.tokens" in tensors:
        micro: list[Sample] = []
        while (at := f"{len(share)}.{len(micro)}.") + "tokens" in tensors:
            prompt, tokens, aux, last = (tensors[at + name] for name in ("prompt", "tokens", "aux", "last"))
            micro.append(Sample("", tokens, int(prompt), aux, last, -1, ""))
        share.append(micro)
    return share


class Group:
    """The ranks of a process group, which must be there. See :class:`aurora_core.training.parallel.Ranks`."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self._sent: list[tuple[dist.Work, Tensor]] = []

    @contextmanager
    def _together(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            message = (
                f"rank {self.rank} {LOST_RANK} {self.size} ranks: {str(error)[:300]}. Read the log of the rank "
                "that ended first; the launcher restarts all of them, and they resume from the last saved state"
            )
            raise TrainingError(message) from error

    # --- what rank 0 announces -------------------------------------------------------------------------------

    def announce(self, kind: Kind, text: str = "", tensors: Sequence[Mapping[str, Tensor]] = ()) -> None:
        """Have the followers do something; returns before they have received it.

        Args:
            kind: what.
            text: what belongs to it.
            tensors: the same, contiguous, on the CPU, one mapping for each follower or none. They must not change until
                the next announcement or sum.
        """
        self._settle()
        for follower in range(1, self.size):
            body = tensors[follower - 1] if tensors else {}
            shapes = [[name, short_name(x.dtype), list(x.shape)] for name, x in body.items()]
            head = torch.frombuffer(bytearray(json.dumps([kind.value, text, shapes]).encode()), dtype=torch.uint8)
            with self._together():
                for part in (torch.tensor([head.numel()]), head, *(x for x in body.values() if x.numel())):
                    work = dist.isend(_bytes(part), follower)
                    if work is not None:
                        self._sent.append((work, part))

    def _settle(self) -> None:
        """Wait until all that was announced is received."""
        with self._together():
            for work, _ in self._sent:
                work.wait()
        self._sent.clear()

    def receive(self) -> Order:
        """The next announcement; to be called by followers.

        Raises:
            TrainingError: rank 0 is gone.
        """
        with self._together():
            length = torch.zeros(1, dtype=torch.int64)
            dist.recv(_bytes(length), 0)
            head = torch.empty(int(length), dtype=torch.uint8)
            dist.recv(head, 0)
            kind, text, shapes = json.loads(head.numpy().tobytes())
            tensors = {name: torch.empty(shape, dtype=getattr(torch, dtype)) for name, dtype, shape in shapes}
            for tensor in tensors.values():
                if tensor.numel():
                    dist.recv(_bytes(tensor), 0)
        return Order(Kind(kind), text, tensors)

    def hand_out(self, micro_batches: Sequence[Sequence[Sample]]) -> Sequence[Sequence[Sample]]:
        """Send each follower its share; returns rank 0's."""
        own, *others = shares(micro_batches, self.size)
        roots = sum(sample.roots for micro in micro_batches for sample in micro)
        self.announce(Kind.STEP, str(roots), [packed_share(share) for share in others])
        return own

    def announce_vocabulary(self, ids: Tensor) -> None:
        """See Ranks."""
        self.announce(Kind.VOCABULARY, "", [{"ids": ids.cpu().contiguous()}] * (self.size - 1))

    def end(self, *, finished: bool) -> None:
        """End the followers and leave the group; to be called by rank 0."""
        self.announce(Kind.END, "finished" if finished else "")
        self._settle()
        leave()

    # --- what all ranks do together --------------------------------------------------------------------------

    def add(self, own: Tensor) -> Tensor:
        """See Ranks."""
        total = own.clone()
        with self._together():
            dist.all_reduce(total)
        self._settle()
        return total

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """See Ranks."""
        every = list(parameters)
        there = self.add(torch.tensor([float(p.grad is not None) for p in every], dtype=torch.float64))
        # What no rank has a gradient of is not the same as a gradient of zero, which decays weights.
        present = [p for p, ranks in zip(every, there.tolist(), strict=True) if ranks]
        for parameter in present:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        with self._together():
            for work in [dist.all_reduce(p.grad, async_op=True) for p in present if p.grad is not None]:
                if work is not None:
                    work.wait()

    def of_first(self, own: float) -> float:
        """See Ranks."""
        value = torch.tensor([own], dtype=torch.float64)
        with self._together():
            dist.broadcast(value, 0)
        return float(value)

    def stops(self, *, own: bool) -> bool:
        """Whether any rank was asked to end; followers call it at each :attr:`Kind.POLL`."""
        return bool(self.add(torch.tensor([float(own)], dtype=torch.float64)))

    def any_stops(self, *, own: bool) -> bool:
        """See Ranks; to be called by rank 0."""
        self.announce(Kind.POLL)
        return self.stops(own=own)


def _ranks(environment: Mapping[str, str]) -> int:
    given = environment.get(_SIZE) or "1"
    if not given.isdecimal() or int(given) == 0:
        raise ConfigError(
            f"{_SIZE} is {given!r:.60}, not a number of ranks: start the trainer with torchrun, or unset it"
        )
    return int(given)


def rank_of(environment: Mapping[str, str]) -> int:
    """The rank that torch's launcher gave this process; 0 without a launcher.

    Raises:
        ConfigError: the launcher's variables are not all there.
    """
    if _ranks(environment) == 1:
        return 0
    missing = [name for name in _NEEDED if not environment.get(name)]
    if missing:
        message = f"{_SIZE} is set and {', '.join(missing)} is not: start the trainer with torchrun, or unset {_SIZE}"
        raise ConfigError(message)
    return int(environment[_RANK])


def leads_a_machine(environment: Mapping[str, str]) -> bool:
    """Whether this process is the first one that torch's launcher started on its machine."""
    return environment.get(_LOCAL) == "0"


def gather(environment: Mapping[str, str]) -> Ranks:
    """All ranks of the training that this process leads; alone without a launcher. Errors as of :func:`join`."""
    return ALONE if _ranks(environment) == 1 else join(environment)


def join(environment: Mapping[str, str]) -> Group:
    """Join the ranks that torch's launcher started, and wait for all of them.

    Raises:
        ConfigError: the launcher's variables are not all there, or there are more ranks than GPUs on this machine.
        TrainingError: the others do not come.
    """
    rank = rank_of(environment)
    if torch.cuda.is_available():
        local, gpus = int(environment.get(_LOCAL) or 0), torch.cuda.device_count()
        if local >= gpus:
            message = f"this machine has {gpus} GPUs, too few for rank {rank}: give torchrun --nproc-per-node={gpus}"
            raise ConfigError(message)
        torch.cuda.set_device(local)
    return met(None, rank, _ranks(environment))


def met(store: Store | None, rank: int, size: int) -> Group:
    """Join the ranks that meet at a store, or with None at the address that the environment has, and wait for all.

    Raises:
        TrainingError: the others do not come.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend, timeout=PATIENCE, store=store, rank=rank, world_size=size)
    except RuntimeError as error:
        message = f"rank {rank} does not reach the other ones of {size}: {str(error)[:300]}"
        raise TrainingError(message) from error
    return Group()


def leave() -> None:
    """Leave the group in good order; what dies leaves by dying."""
    dist.destroy_process_group()
