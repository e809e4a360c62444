"""No file in the spool ends training, or is met twice; whatever it is."""

import json
import os
import struct

import hostile_files
import pytest
import torch
from aurora_core.config.parts import SamplesConfig
from aurora_core.errors import SampleError
from aurora_core.samples.open import largest, open_source
from aurora_core.samples.pool import Pool
from aurora_core.samples.schema import HEADER_BYTES, SCHEMA, _checksum, decode, encode
from aurora_core.samples.spool import SpoolSink, SpoolSource
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

MOST = 1 << 22


def forged(payload, **labels):
    """A sample with other labels and a checksum that is right."""
    header, body = hostile_files.parts(payload)
    header["__metadata__"] |= labels
    hostile_files.reseal(header, body)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def deep(payload):
    text = b'{"__metadata__":' + b'{"a":' * 100_000 + b"0" + b"}" * 100_000 + b"}"
    return struct.pack("<Q", len(text)) + text


FORGERIES = {
    "prompt": lambda payload: forged(payload, prompt_tokens="many"),
    "negative": lambda payload: forged(payload, prompt_tokens="-3"),
    "huge": lambda payload: forged(payload, prompt_tokens="9" * 5000),
    "version": lambda payload: forged(payload, draft_version="latest"),
    "deep": deep,
    "empty": lambda _: b"",
    "short": lambda payload: payload[:7],
    "endless header": lambda payload: b"\xff" * 8 + payload[8:],
    "no tensors": lambda _: struct.pack("<Q", 2) + b"{}",
    "binary": lambda _: bytes(range(256)) * 9,
}


def read(payload, target):
    return decode(payload, target=target.fingerprint, vocab_size=target.vocab_size, aux_width=96, hidden=32,
                  dtypes=(torch.float32,))  # fmt: skip


@pytest.fixture
def spool(tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.fixture
def trainer_of(target, spool):
    def make():
        source = SpoolSource(spool, MOST)

        return Pool(source, lambda payload: read(payload, target), size=10, heldout_size=10, heldout_fraction=0.01)

    return make


def special(path, kind, tmp_path):
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "link":
            (tmp_path / "elsewhere").write_bytes(b"secret")
            path.symlink_to(tmp_path / "elsewhere")
        case "dangling":
            path.symlink_to(tmp_path / "nowhere")
        case "folder":
            (path / "inside").mkdir(parents=True)
        case "giant":
            with path.open("wb") as file:
                file.truncate(8 << 40)


@pytest.mark.parametrize("kind", ["pipe", "link", "dangling", "folder", "giant"])
def test_what_is_no_file_of_ours_is_refused_counted_and_met_once(trainer_of, make_sample, spool, tmp_path, kind):
    special(spool / "000000000001-x.sample", kind, tmp_path)
    SpoolSink(spool, 1 << 62).put("good", encode(make_sample("good")))
    first = trainer_of()
    assert first.refill() == 1
    assert sum(first.rejected.values()) == 1
    assert trainer_of().refill() == 1
    assert not trainer_of().rejected
    if kind == "link":
        assert (tmp_path / "elsewhere").read_bytes() == b"secret"


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_sample_is_refused_counted_and_met_once(trainer_of, make_sample, spool, name):
    sink = SpoolSink(spool, 1 << 40)
    sink.put("bad", FORGERIES[name](encode(make_sample("bad"))))
    sink.put("good", encode(make_sample("good")))
    first = trainer_of()
    assert first.refill() == 1
    assert sum(first.rejected.values()) == 1
    assert [path.name for path in spool.glob("*bad*")] == []


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_end_training(trainer_of, spool, junk):
    (spool / "000000000001-junk.sample").write_bytes(junk)
    pool = trainer_of()
    assert pool.refill() == 0
    assert sum(pool.rejected.values()) == 1


def test_samples_are_readable_by_their_owner_alone(make_sample, spool):
    SpoolSink(spool, 1 << 40).put("good", encode(make_sample("good")))
    (path,) = spool.glob("*.sample")
    assert path.stat().st_mode & 0o077 == 0


def test_a_sparse_giant_that_would_fit_the_spool_is_refused_unread(spool):
    """Read completely, it would end the trainer for want of memory, and again after each restart."""
    config = SamplesConfig(max_tokens=8192, spool_bytes=1 << 40)
    with (spool / "000000000001-x.sample").open("wb") as file:
        file.truncate(1 << 39)
    (delivery,) = open_source(config, spool, "", hidden=4096).poll()
    with pytest.raises(SampleError, match="can have") as caught:
        delivery.read()
    assert caught.value.reason == "too_large"


def test_a_header_of_many_parts_is_refused_unparsed(target):
    """Some bytes of JSON take twenty times their size in memory."""
    header = b'{"__metadata__":[' + b"[]," * (HEADER_BYTES // 3) + b"0]}"
    with pytest.raises(SampleError, match=r"its header has \d+ bytes"):
        read(struct.pack("<Q", len(header)) + header, target)


def test_no_sample_that_may_be_captured_is_too_large(make_sample, spool):
    sample = make_sample("full")
    tokens, width = len(sample.tokens), sample.last.shape[1]
    assert len(encode(sample)) <= largest(tokens, width)
    assert largest(8192, 4096) < 4 << 30


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.uint8])
def test_tokens_that_are_no_integers_are_not_rounded(target, make_sample, dtype):
    """A cut to integers would be a plausible text that nobody wrote."""
    sample = make_sample("odd")
    tensors = {"tokens": sample.tokens.to(dtype), "aux": sample.aux, "last": sample.last}
    labels = {"schema": SCHEMA, "request": "odd", "prompt_tokens": "1", "draft_version": "0", "target": sample.target}
    payload = save(tensors, metadata=labels | {"crc32": _checksum(tensors, labels)})
    with pytest.raises(SampleError, match="are no integers") as caught:
        read(payload, target)
    assert caught.value.reason == "dtype"


def test_a_number_that_no_engine_counts_to_leaves_room_for_the_next(make_sample, spool):
    (spool / f"{'9' * 240}-x.sample").write_bytes(b"junk")
    SpoolSink(spool, 1 << 40).put("good", encode(make_sample("good")))
    assert [path.name for path in spool.glob("*good*")] == ["000000000001-good.sample"]
