import math
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from aurora_core.errors import SampleError, TransportError
from aurora_core.samples.schema import Sample, encode
from aurora_core.samples.spool import SpoolSink, SpoolSource
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples_support import read


def test_a_sample_survives_the_journey(target, make_sample):
    sample = make_sample("req-1")
    back = read(encode(sample), target)
    assert (back.request, back.prompt_tokens, back.draft_version) == ("req-1", 6, 0)
    assert torch.equal(back.tokens, sample.tokens)
    assert torch.equal(back.aux, sample.aux)
    assert torch.equal(back.last, sample.last)


def test_a_sample_says_when_it_was_captured_and_an_older_image_reads_it_all_the_same(target, make_sample):
    sample = replace(make_sample(), captured=1_700_000_000.25)
    payload = encode(sample)
    assert read(payload, target).captured == 1_700_000_000.25
    assert read(encode(make_sample()), target).captured == 0
    for odd in (b"soon          ", b"nan           ", b"inf           "):
        assert read(payload.replace(b"1700000000.250", odd), target).captured == 0


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_damaged_sample_is_ever_read(target, make_sample, data):
    payload = bytearray(encode(make_sample()))
    at = data.draw(st.integers(0, len(payload) - 1))
    if data.draw(st.booleans()):
        del payload[at:]
    else:
        payload[at] ^= data.draw(st.integers(1, 255))
    assert_refused_or_complete(payload, read(encode(make_sample()), target), target)


def assert_refused_or_complete(payload, complete, target):
    try:
        back = read(bytes(payload), target)
    except SampleError as error:
        assert error.reason in {"format", "corrupt", "foreign", "shape", "dtype"}
    else:
        assert same(back, complete)


def same(one, other):
    labels = ("request", "prompt_tokens", "draft_version", "target")
    tensors = ("tokens", "aux", "last")
    return all(getattr(one, name) == getattr(other, name) for name in labels) and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in tensors
    )


def test_no_bit_of_the_header_can_flip_unseen(target, make_sample):
    payload = encode(make_sample())
    complete = read(payload, target)
    for bit in range(8 * (8 + int.from_bytes(payload[:8], "little"))):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << (bit % 8)
        assert_refused_or_complete(damaged, complete, target)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"target": "another"}, "foreign"),
        ({"dtypes": (torch.bfloat16,)}, "dtype"),
        ({"hidden": 33}, "shape"),
        ({"aux_width": 64}, "shape"),
        ({"vocab_size": 10}, "tokens"),
    ],
)
def test_a_sample_of_something_else_is_refused(target, make_sample, change, reason):
    with pytest.raises(SampleError) as caught:
        read(encode(make_sample()), target, **change)
    assert caught.value.reason == reason


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["aux", "last"])
def test_a_sample_whose_states_are_no_numbers_is_refused(target, make_sample, where, bad, dtype):
    sample = make_sample()
    sample = replace(sample, aux=sample.aux.to(dtype), last=sample.last.to(dtype))
    read(encode(sample), target, dtypes=(dtype,))
    getattr(sample, where)[7, 3] = bad
    with pytest.raises(SampleError) as caught:
        read(encode(sample), target, dtypes=(dtype,))
    assert caught.value.reason == "not_finite"


@pytest.mark.parametrize("token", [-1, 64, 2**31 - 1])
def test_a_sample_with_a_token_that_the_target_does_not_know_is_refused(target, make_sample, token):
    sample = make_sample()
    sample.tokens[3] = token
    with pytest.raises(SampleError, match="none of the target's 64"):
        read(encode(sample), target)


def test_a_sample_must_have_a_row_for_every_token_but_the_last():
    with pytest.raises(SampleError, match="so 3 rows"):
        Sample("a", torch.arange(4), 1, torch.zeros(4, 3), torch.zeros(4, 1), 0, "t")


@given(st.integers(1, 30), st.integers(2, 30), st.integers(2, 40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_long_sample_is_cut_at_the_front(make_sample, prompt, generated, rows):
    full = make_sample(length=prompt + generated, prompt=prompt)
    cut = full.cut(rows)
    left = min(rows, full.aux.shape[0])
    assert cut.aux.shape[0] == left
    assert torch.equal(cut.tokens, full.tokens[-left - 1 :])
    assert torch.equal(cut.aux, full.aux[-left:])
    assert torch.equal(cut.last, full.last[-left:])
    assert cut.roots == min(full.roots, left - 1)
    if left < full.aux.shape[0]:
        assert cut.aux.untyped_storage().nbytes() == cut.aux.nbytes


def test_a_sample_of_one_generated_token_is_refused(make_sample):
    with pytest.raises(SampleError, match="one generated token") as error:
        make_sample(length=7, prompt=6).cut(100)
    assert error.value.reason == "no_rows"


def test_the_spool_keeps_what_is_not_yet_done_with(tmp_path, make_sample):
    sink = SpoolSink(tmp_path, 1 << 20)
    for i in range(3):
        sink.put(f"s{i}", bytes([i]))
    first = SpoolSource(tmp_path)
    deliveries = list(first.poll())
    assert [d.read() for d in deliveries] == [b"\0", b"\1", b"\2"]
    assert list(first.poll()) == []
    deliveries[0].done()
    again = SpoolSource(tmp_path)
    assert again.backlog() == 2
    assert [d.read() for d in again.poll()] == [b"\1", b"\2"]


def test_engines_that_write_at_once_do_not_write_over_each_other(tmp_path, target, make_sample):
    """Pods share the folder, and in containers their processes' ids are often the same."""
    payloads = [encode(make_sample(f"r{i}", length=200)) for i in range(4)]

    def fill(i):
        sink = SpoolSink(tmp_path, 1 << 30)
        for n in range(50):
            sink.put(f"r{i}-{n}", payloads[i])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(4)))
    found = [read(delivery.read(), target) for delivery in SpoolSource(tmp_path).poll()]
    assert Counter(sample.request for sample in found) == {f"r{i}": 50 for i in range(4)}


def test_a_sample_that_the_trainer_lets_go_of_while_another_is_written_is_in_nobody_s_way(tmp_path):
    # Listed, and gone when it is read.
    (tmp_path / "000000000001-gone.sample").symlink_to("nowhere")
    SpoolSink(tmp_path, 10).put("next", b"123456")
    assert (tmp_path / "000000000002-next.sample").read_bytes() == b"123456"


def test_what_a_killed_engine_left_half_written_goes(tmp_path):
    old, new = tmp_path / ".a.part", tmp_path / ".b.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, time.time() - 7200))
    assert list(SpoolSource(tmp_path).poll()) == []
    assert [path.name for path in tmp_path.iterdir()] == [".b.part"]


def test_a_full_spool_refuses(tmp_path):
    sink = SpoolSink(tmp_path, 10)
    sink.put("a", b"123456")
    with pytest.raises(TransportError) as caught:
        sink.put("b", b"123456")
    assert caught.value.reason == "spool_full"


def test_a_full_disk_is_reported_and_leaves_nothing_behind(tmp_path, no_room):
    sink = SpoolSink(tmp_path, 1 << 20)
    with no_room(), pytest.raises(TransportError) as caught:
        sink.put("a", b"123456")
    assert caught.value.reason == "spool_error"
    assert list(tmp_path.iterdir()) == []
    sink.put("a", b"123456")
    assert SpoolSource(tmp_path).backlog() == 1
