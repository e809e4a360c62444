"""Users' data: how long samples stay, what keeps a request from becoming one, and who decides what is held out."""

import os
import threading
import time
from types import SimpleNamespace

import pytest
import torch
from aurora_core.config.strata import StrataConfig
from aurora_core.engine import sender as sender_module
from aurora_core.engine.counters import CycleCounters
from aurora_core.engine.runtime import Runtime
from aurora_core.engine.sender import Sender
from aurora_core.protocol.request import NOT_CAPTURED, may_be_captured
from aurora_core.samples.pool import Pool, is_heldout
from aurora_core.samples.schema import decode, encode
from aurora_core.samples.spool import Retention, SpoolSink, SpoolSource, expire
from aurora_core.training import holdout
from hypothesis import given
from hypothesis import strategies as st

HOUR = 3600.0


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2, follow_symlinks=False)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def spool(tmp_path):
    sink = SpoolSink(tmp_path / "spool", 1 << 30)
    for name in ("old", "new"):
        sink.put(name, b"payload")
    age(tmp_path / "spool" / "000000000001-old.sample", 2 * HOUR)
    return tmp_path / "spool"


def test_what_is_older_than_the_limit_is_deleted_and_nothing_else(spool):
    (spool / ".half.part").write_bytes(b"half")
    (spool / "kept.txt").write_bytes(b"not ours")
    (spool / "000000000000-link.sample").symlink_to(spool / "kept.txt")
    (spool / "000000000000-folder.sample" / "inside").mkdir(parents=True)
    for name in (".half.part", "kept.txt", "000000000000-link.sample", "000000000000-folder.sample"):
        age(spool / name, 2 * HOUR)
    assert expire(spool, HOUR) == 4
    assert names(spool) == ["000000000002-new.sample", "kept.txt"]


def test_what_is_dated_in_the_future_does_not_stay_until_then(spool):
    age(spool / "000000000001-old.sample", -2 * HOUR)
    assert expire(spool, 9 * HOUR) == 1
    # Two machines' clocks may differ.
    age(spool / "000000000002-new.sample", -HOUR / 2)
    assert expire(spool, 9 * HOUR) == 0


def test_a_trainer_never_reads_what_is_too_old(spool):
    assert [delivery.name for delivery in SpoolSource(spool, max_age_seconds=HOUR).poll()] == [
        "000000000002-new.sample"
    ]
    assert names(spool) == ["000000000002-new.sample"]


def test_a_spool_is_open_to_its_owner_alone(spool):
    assert spool.stat().st_mode & 0o077 == 0


def test_without_capture_nothing_stays_but_a_short_pause_costs_nothing(spool):
    rate = [0.0]
    retention = Retention(spool, 10 * HOUR, lambda: rate[0])
    retention.apply()
    assert len(names(spool)) == 2
    rate[0] = 1.0
    retention.apply()
    rate[0] = 0.0
    retention.apply()
    assert len(names(spool)) == 2
    retention.apply()
    assert names(spool) == []


def test_an_engine_enforces_it_without_traffic_and_survives_a_volume_that_fails(spool, monkeypatch):
    monkeypatch.setattr(sender_module, "_UPKEEP_SECONDS", 0.01)
    calls, thrice = [], threading.Event()

    def upkeep():
        calls.append(len(calls))
        if len(calls) == 1:
            raise OSError(5, "Input/output error")
        if len(calls) == 3:
            thrice.set()

    sender = Sender(lambda: None, None, 4, upkeep)
    sender.start()
    assert thrice.wait(30)
    sender.close()
    assert sender.dropped["upkeep_error"] == 1


def test_the_pool_lets_go_of_what_is_too_old(tmp_path, target, make_sample):
    now = [1000.0]
    sink = SpoolSink(tmp_path, 1 << 30)
    sink.put("a", encode(make_sample("a")))
    age(tmp_path / "000000000001-a.sample", HOUR / 2)

    def read(payload):
        return decode(payload, target=target.fingerprint, vocab_size=target.vocab_size, aux_width=96, hidden=32,
                      dtypes=(torch.float32,))  # fmt: skip

    pool = Pool(SpoolSource(tmp_path), read, size=9, heldout_size=9, heldout_fraction=0.5, max_age_seconds=HOUR,
                clock=lambda: now[0])  # fmt: skip
    assert pool.refill() == 1
    now[0] += HOUR / 2 - 60
    pool.refill()
    assert len(pool.training) + len(pool.heldout) == 1
    now[0] += 120
    pool.refill()
    assert len(pool.training) + len(pool.heldout) == 0
    assert pool.evicted == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize("params", [NOT_CAPTURED, {"aurora_capture": 0}, {"aurora_capture": "off"},
                                    {"aurora_capture": None}, {"aurora_capture": []}])  # fmt: skip
def test_a_request_can_say_that_it_must_not_be_captured_and_unclear_means_so(params):
    assert not may_be_captured(params)


@pytest.mark.parametrize("params", [None, {}, {"aurora_capture": True}, {"other": False}, "text"])
def test_other_parameters_do_not_keep_a_request_from_being_captured(params):
    assert may_be_captured(params)


class Capture:
    def __init__(self):
        self.got = []

    def collect(self, request, *_):
        self.got.append(request)


def test_a_request_that_opted_out_or_gave_more_than_tokens_is_counted_and_leaves_no_sample():
    runtime = Runtime.__new__(Runtime)
    dropped = []
    runtime.counters = CycleCounters(0)
    runtime.sender = SimpleNamespace(drop=dropped.append)
    runtime.capture = Capture()
    runtime.swap = SimpleNamespace(state=SimpleNamespace(live=0))
    named = ({"name": "law", "values": ["1"], "capture": False}, {"name": "sales", "values": ["2"]})
    runtime._strata = StrataConfig(by="Header", header="x-customer", named=named)
    layers = {"layers": ["model.embed_tokens.lora_A.weight"], "head": ["lm_head.lora_A.weight"]}
    adapters = {name: SimpleNamespace(embedding_layers=dict.fromkeys(of)) for name, of in layers.items()}
    runtime._adapters = SimpleNamespace(loras=adapters)
    given = {
        "private": {"params": dict(NOT_CAPTURED)},
        "law": {"key": "aurora/law/"},
        "sales": {"key": "aurora/sales/"},
        "forged": {"key": "aurora/other/aurora/law/"},
        "vectors": {"input_embeds": [[0.5], [0.5]]},
        "replaced": {"positional_embed_overrides": object()},
        "usual": {},
        "head": {"adapter": "head"},
        "gone": {"adapter": "gone"},
        "layers": {"adapter": "layers"},
        "image": {"multimodal_inputs": SimpleNamespace(mm_items=[object()])},
        "text": {"multimodal_inputs": SimpleNamespace(mm_items=[])},
    }
    for rid, what in given.items():
        request = SimpleNamespace(
            rid=rid,
            sampling_params=SimpleNamespace(custom_params=what.get("params")),
            routing_key=what.get("key"),
            input_embeds=what.get("input_embeds"),
            positional_embed_overrides=what.get("positional_embed_overrides"),
            multimodal_inputs=what.get("multimodal_inputs"),
            lora_id=what.get("adapter"),
            origin_input_ids=[1, 2],
            output_ids_through_stop=[3, 4],
            kv=SimpleNamespace(req_pool_idx=0),
        )
        runtime.released(request, torch.zeros(1, 8, dtype=torch.int64), "finished")
    assert runtime.capture.got == ["sales", "forged", "usual", "layers", "text"]
    assert dropped == ["opted_out", "opted_out", "embeddings", "embeddings", "adapter_head", "adapter_head", "media"]


@given(st.text(max_size=40))
def test_which_side_a_request_lands_on_depends_on_a_secret(rid):
    sides = {is_heldout(rid, 0.5, bytes([n]) * 32) for n in range(64)}
    assert sides == {True, False}


def test_the_secret_of_the_holdout_is_made_once_for_its_owner_alone_and_again_where_it_is_damaged(tmp_path):
    folder = tmp_path / "training"
    first = holdout.salt(folder)
    assert len(first) == 32
    assert holdout.salt(folder) == first
    assert (folder / holdout.FILE).stat().st_mode & 0o077 == 0
    (folder / holdout.FILE).write_bytes(b"short")
    again = holdout.salt(folder)
    assert again != first
    assert holdout.salt(folder) == again
    assert names(folder) == [holdout.FILE]


def test_a_spool_that_cannot_be_listed_for_a_while_ends_nothing_and_brings_nothing_twice(tmp_path, monkeypatch):
    SpoolSink(tmp_path / "spool", 1 << 20).put("a", b"one")
    source = SpoolSource(tmp_path / "spool")
    assert len(list(source.poll())) == 1

    def refused(_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as broken:
        broken.setattr(os, "listdir", refused)
        broken.setattr(type(tmp_path), "is_dir", refused)
        assert list(source.poll()) == []
        assert source.backlog() == 0
    assert list(source.poll()) == []


class Arriving:
    """A source of payloads in memory, some at each poll."""

    def __init__(self, sizes):
        self.left = [SimpleNamespace(name=str(n), age_seconds=0.0, read=lambda size=size: b"x" * size,
                                     done=lambda n=n: self.gone.append(n)) for n, size in enumerate(sizes)]  # fmt: skip
        self.gone = []

    def poll(self):
        now, self.left = self.left[:5], self.left[5:]
        return now


@given(st.lists(st.integers(1, 100), min_size=1, max_size=60), st.integers(1, 300))
def test_a_pool_has_no_more_bytes_than_it_may_and_lets_go_of_the_oldest(sizes, most):
    source = Arriving(sizes)
    ticks = iter(range(10**6))
    pool = Pool(source, len, size=20, heldout_size=5, heldout_fraction=0.3, max_bytes=most, clock=lambda: next(ticks))
    while source.left:
        pool.refill()
        kept = [*pool.training, *pool.heldout]
        assert kept
        assert sum(entry.size for entry in kept) <= most or len(kept) == 1
        assert len(source.gone) == pool.evicted == pool.received - len(kept)
    # Apart from what the number of each side lets go of, the oldest leave first.
    if len(sizes) <= 5:
        assert source.gone == sorted(source.gone) == list(range(len(source.gone)))
