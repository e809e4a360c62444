"""Files as nobody publishes them: mutations of the bytes and of the JSON of real ones, the same for the same seed."""

import contextlib
import copy
import json
import random
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from aurora_core.samples import schema
from aurora_core.weights.manifest import Manifest

ODD: list[Any] = [None, True, -1, 0, 2**63, 10**400, 1e308, float("nan"), "", "x", "9" * 5000, "\x00",
       "../../etc/passwd", [], {}, [[[]]], {"a": {"b": {}}}, "2026-13-01T00:00:00Z"]  # fmt: skip


def bytes_changed(rng: random.Random, payload: bytes) -> bytes:
    """A few bytes replaced, removed or added."""
    out = bytearray(payload)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(out) or 1)
        match rng.randrange(4):
            case 0 if out:
                out[at] = rng.randrange(256)
            case 1:
                del out[at : at + rng.randrange(9)]
            case 2:
                out[at:at] = rng.randbytes(rng.randrange(9))
            case _:
                del out[at:]
    return bytes(out)


def _slots(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from ((value, key) for key in value)
        for child in value.values():
            yield from _slots(child)
    elif isinstance(value, list):
        yield from ((value, at) for at in range(len(value)))
        for child in value:
            yield from _slots(child)


def json_changed(rng: random.Random, value: Any) -> Any:
    """A few values replaced, removed, moved or nested deeply."""
    out = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        slots = list(_slots(out))
        if not slots:
            break
        holder, key = rng.choice(slots)
        match rng.randrange(4):
            case 0:
                holder[key] = copy.deepcopy(rng.choice(ODD))
            case 1:
                del holder[key]
            case 2:
                other, at = rng.choice(slots)
                holder[key] = copy.deepcopy(other[at]) if at in other or isinstance(other, list) else None
            case _:
                for _ in range(200):
                    holder[key] = [holder[key]]
    return out


def manifest(rng: random.Random, text: str) -> bytes:
    """A manifest with other bytes, or with other values and a checksum that is right where it can be."""
    if rng.random() < 0.3:
        return bytes_changed(rng, text.encode())
    changed = json_changed(rng, json.loads(text))
    try:
        return Manifest.model_validate(changed).sealed().model_dump_json().encode()
    except (ValueError, TypeError, OverflowError, RecursionError):
        return json.dumps(changed).encode()


def parts(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """A sample's header and body."""
    size = struct.unpack("<Q", payload[:8])[0]
    return json.loads(payload[8 : 8 + size]), payload[8 + size :]


def reseal(header: dict[str, Any], body: bytes) -> None:
    """Put the checksum into a changed header that is right for it."""
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            dtype = {"I32": torch.int32, "F32": torch.float32}[entry["dtype"]]
            tensors[name] = torch.frombuffer(bytearray(body[start:end]), dtype=dtype).reshape(entry["shape"])
    header["__metadata__"]["crc32"] = schema._checksum(tensors, header["__metadata__"])


def sample(rng: random.Random, payload: bytes) -> bytes:
    """A sample with other bytes, or with other labels and shapes and a checksum that is right where it can be."""
    if rng.random() < 0.3:
        return bytes_changed(rng, payload)
    header, body = parts(payload)
    labels = header["__metadata__"]
    if rng.random() < 0.6:
        # One that only its labels give away.
        field = rng.choice([name for name in labels if name not in {"crc32", "schema", "target"}])
        labels[field] = str(rng.choice([*ODD, "3", "-3", "0", "11", "12"]))
    else:
        header = json_changed(rng, header)
    # A header that names no tensors any more has no checksum that would be right.
    with contextlib.suppress(Exception):
        reseal(header, body)
    text = json.dumps(header).encode()
    return struct.pack("<Q", rng.choice([len(text), len(text), len(text), 2**63, 0])) + text + body


class Delivery:
    """A delivery in memory."""

    name, age_seconds = "000000000001-mutated.sample", 0.0

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self.gone = False

    def read(self) -> bytes:
        """The bytes."""
        return self._payload

    def done(self) -> None:
        """Note that it was let go of."""
        self.gone = True


class Source:
    """The trainer's end of a transport that delivers one payload."""

    def __init__(self, payload: bytes) -> None:
        self.delivery = Delivery(payload)

    def poll(self) -> Iterator[Delivery]:
        """The delivery."""
        yield self.delivery

    def backlog(self) -> int:
        """Nothing waits."""
        return 0

    def lost(self) -> Mapping[str, int]:
        """None: nothing is on its way."""
        return {}

    def close(self) -> None:
        """Nothing to release."""


def rounds(count: int, seed: int = 0) -> Iterator[random.Random]:
    """A generator of random numbers for each round."""
    return (random.Random(seed + n) for n in range(count))
