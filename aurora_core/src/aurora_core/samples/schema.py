"""A captured request: the tokens of prompt and answer, and the target's hidden states at each of them.

Row t is what the target computed at token t: the outputs of the auxiliary layers side by side, and the last
hidden state after the final norm, whose product with lm_head is the distribution of token t + 1. The answer's
last token was never fed to the target, so a request of L tokens has at most L - 1 rows.
"""

import json
import math
import zlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from aurora_core.arithmetic import is_finite
from aurora_core.errors import SampleError

SCHEMA: Final = "aurora-sample/2"
HEADER_BYTES: Final = 1 << 20
"""Of what stands before its tensors, at most: a header is parsed at once, and takes many times its size in memory."""
_TOKENS: Final = (torch.int32, torch.int64)
_CRC: Final = "crc32"
_CAPTURED: Final = "captured"
_FIELDS: Final = ("schema", "request", "prompt_tokens", "draft_version", "target", _CRC)


@dataclass(frozen=True)
class Sample:
    """One request.

    Attributes:
        request: the engine's id of the request.
        tokens: int64 [L], prompt then answer.
        prompt_tokens: how many of them are the prompt; the target generated the rest.
        aux: [L - 1, aux layers * hidden], float.
        last: [L - 1, hidden], float.
        draft_version: the draft that was live when the request ended; -1 where none was.
        target: fingerprint of the target that computed the states.
        captured: when, in seconds since the epoch by the engine's clock; 0 where that is not known.
    """

    request: str
    tokens: Tensor
    prompt_tokens: int
    aux: Tensor
    last: Tensor
    draft_version: int
    target: str
    captured: float = 0.0

    def __post_init__(self) -> None:
        length = self.tokens.shape[0]
        if (self.tokens.ndim, self.aux.ndim, self.last.ndim) != (1, 2, 2):
            raise SampleError("shape", f"sample {self.request}: tokens must be [L], states [L - 1, width]")
        if not self.aux.shape[0] == self.last.shape[0] == length - 1:
            raise SampleError(
                "shape",
                f"sample {self.request} has {length} tokens, so {length - 1} rows, but aux has {self.aux.shape[0]} "
                f"and last has {self.last.shape[0]}",
            )
        if not 0 < self.prompt_tokens < length:
            raise SampleError("shape", f"sample {self.request}: {self.prompt_tokens} of {length} tokens are prompt")

    @property
    def roots(self) -> int:
        """Rows to learn from: where a verify cycle starts, or could start, whose first proposal the sample answers."""
        return self.tokens.shape[0] - 1 - self.prompt_tokens

    def cut(self, rows: int) -> "Sample":
        """Its last rows, at most so many: what was generated stays, and the end of the prompt before it.

        Positions count from the first row that stays; only the distance of two rows matters to a draft.

        Args:
            rows: 2 at least.

        Raises:
            SampleError: ``no_rows``, none of them can be learned from.
        """
        if self.roots < 1:
            raise SampleError("no_rows", f"sample {self.request} has one generated token, which no proposal can follow")
        gone = self.aux.shape[0] - rows
        if gone <= 0:
            return self
        # Copies, so that the memory of what is cut is free.
        return replace(
            self,
            tokens=self.tokens[gone:].clone(),
            prompt_tokens=max(1, self.prompt_tokens - gone),
            aux=self.aux[gone:].clone(),
            last=self.last[gone:].clone(),
        )

    @property
    def bytes(self) -> int:
        """Memory of the hidden states."""
        return int(self.aux.nbytes + self.last.nbytes)


def _checksum(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """Over everything that a sample says: its labels, and its tensors' names, types, shapes and bytes."""
    crc = zlib.crc32(json.dumps([metadata[field] for field in _FIELDS if field != _CRC]).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.contiguous().view(torch.uint8).numpy().data, crc)
    return str(crc)


def encode(sample: Sample) -> bytes:
    """The sample as safetensors, with a checksum; no pickle anywhere."""
    tensors = {
        "tokens": sample.tokens.to(torch.int32),
        "aux": sample.aux.contiguous(),
        "last": sample.last.contiguous(),
    }
    metadata = {
        "schema": SCHEMA,
        "request": sample.request,
        "prompt_tokens": str(sample.prompt_tokens),
        "draft_version": str(sample.draft_version),
        "target": sample.target,
    }
    # The time is not part of the checksum, which earlier images compute too.
    more = {_CRC: _checksum(tensors, metadata), _CAPTURED: f"{sample.captured:.3f}"}
    payload: bytes = save(tensors, metadata=metadata | more)
    return payload


def _metadata(payload: bytes) -> dict[str, str]:
    try:
        size = int.from_bytes(payload[:8], "little")
        if size > HEADER_BYTES:
            raise SampleError("format", f"no sample of schema {SCHEMA}: its header has {size} bytes")
        header = json.loads(payload[8 : 8 + size])
        metadata = header["__metadata__"]
        return {field: str(metadata[field]) for field in _FIELDS} | {_CAPTURED: str(metadata.get(_CAPTURED, "0"))}
    except (ValueError, KeyError, TypeError) as error:
        raise SampleError("format", f"no sample of schema {SCHEMA}: {error}") from error


def _time(text: str) -> float:
    """Seconds since the epoch; 0 where the text is no time."""
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return seconds if 0 < seconds < math.inf else 0.0


def decode(
    payload: bytes, *, target: str, vocab_size: int, aux_width: int, hidden: int, dtypes: Collection[torch.dtype]
) -> Sample:
    """Read a sample and check that it belongs here.

    Args:
        payload: what :func:`encode` made.
        target: fingerprint that it must carry.
        vocab_size: tokens that the target knows.
        aux_width: width that its auxiliary states must have.
        hidden: width that its last hidden states must have.
        dtypes: types that its states may have.

    Raises:
        SampleError: ``format`` (no sample, or truncated), ``corrupt`` (checksum), ``foreign`` (another target),
            ``dtype``, ``shape``, ``tokens`` (beyond the vocabulary) or ``not_finite``.
    """
    metadata = _metadata(payload)
    if metadata["schema"] != SCHEMA:
        raise SampleError("format", f"sample of schema {metadata['schema']}, this trainer reads {SCHEMA}")
    request = metadata["request"]
    if metadata["target"] != target:
        raise SampleError(
            "foreign", f"sample {request} comes from target {metadata['target']}, this trainer's is {target}"
        )
    try:
        tensors = load(payload)
        tokens, aux, last = tensors["tokens"], tensors["aux"], tensors["last"]
    except (SafetensorError, KeyError) as error:
        raise SampleError("format", f"sample {request} is damaged: {error}") from error
    if _checksum(tensors, metadata) != metadata[_CRC]:
        raise SampleError("corrupt", f"sample {request} does not have the bytes that were sent")
    if aux.dtype not in dtypes or last.dtype != aux.dtype:
        readable = ", ".join(map(str, dtypes))
        raise SampleError(
            "dtype",
            f"sample {request} is {aux.dtype} and {last.dtype}, this trainer reads {readable}: set samples.dtype",
        )
    if tokens.dtype not in _TOKENS:
        raise SampleError("dtype", f"sample {request} has tokens of {tokens.dtype}, which are no integers")
    if aux.shape[-1] != aux_width or last.shape[-1] != hidden:
        raise SampleError(
            "shape",
            f"sample {request} is {aux.shape[-1]} and {last.shape[-1]} wide, the draft needs {aux_width} and {hidden}",
        )
    if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < vocab_size:
        raise SampleError("tokens", f"sample {request} has tokens that are none of the target's {vocab_size}")
    if not (is_finite(aux) and is_finite(last)):
        raise SampleError(
            "not_finite", f"sample {request} has hidden states that are NaN or infinite: the target overflows its dtype"
        )
    return Sample(
        request=request,
        tokens=tokens.to(torch.int64),
        prompt_tokens=int(metadata["prompt_tokens"]),
        aux=aux,
        last=last,
        draft_version=int(metadata["draft_version"]),
        target=target,
        captured=_time(metadata[_CAPTURED]),
    )
