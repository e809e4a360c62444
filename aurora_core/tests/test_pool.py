"""The samples that a trainer draws from, and those that it is held to."""

import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from aurora_core.samples.pool import Entry, Pool, is_heldout
from aurora_core.samples.schema import encode
from aurora_core.samples.spool import SpoolSink, SpoolSource
from samples_support import read

HOUR = 3600.0


def fill(tmp_path, samples):
    sink = SpoolSink(tmp_path, 1 << 30)
    for sample in samples:
        sink.put(sample.request, encode(sample))


def make_pool(tmp_path, target, **changes):
    settings_ = {"size": 1000, "heldout_size": 1000, "heldout_fraction": 0.2, **changes}
    return Pool(SpoolSource(tmp_path), lambda payload: read(payload, target), **settings_)


def test_the_pool_splits_by_name_and_forgets_the_oldest(tmp_path, target, make_sample):
    fill(tmp_path, [make_sample(f"r{i}", seed=i) for i in range(60)])
    pool = make_pool(tmp_path, target, size=20, heldout_size=5)
    assert pool.refill() == 60
    assert len(pool.training) == 20
    assert len(pool.heldout) == 5
    assert all(is_heldout(e.name, 0.2, b"") for e in pool.heldout)
    assert not any(is_heldout(e.name, 0.2, b"") for e in pool.training)
    assert pool.evicted == 35
    assert len(list(tmp_path.glob("*.sample"))) == 25


def test_bad_samples_are_counted_and_skipped(tmp_path, target, make_sample):
    fill(tmp_path, [make_sample("good")])
    (tmp_path / "000000000900-x.sample").write_bytes(b"nonsense")
    (tmp_path / "000000000901-y.sample").write_bytes(encode(make_sample("y"))[:-3])
    pool = make_pool(tmp_path, target)
    assert pool.refill() == 1
    assert sum(pool.rejected.values()) == 2


def test_fresh_samples_are_drawn_first(tmp_path, target, make_sample):
    fill(tmp_path, [make_sample(f"r{i}", seed=i) for i in range(8)])
    pool = make_pool(tmp_path, target, heldout_fraction=0.001)
    generator = torch.Generator().manual_seed(0)
    pool.refill()
    first = {s.request for s in pool.draw(4, generator)}
    second = {s.request for s in pool.draw(4, generator)}
    assert not first & second
    assert pool.draws() == 8


def test_what_is_drawn_again_is_spread_over_steps_and_one_used_less_is_likelier(tmp_path, target, make_sample):
    fill(tmp_path, [make_sample(f"r{i}", seed=i) for i in range(40)])
    pool = make_pool(tmp_path, target, heldout_fraction=1e-9)
    pool.refill()
    generator = torch.Generator().manual_seed(0)
    for entry in pool.training:
        entry.uses = 1 if entry.sample.request in {"r0", "r1"} else 4
    counts = Counter(s.request for _ in range(200) for s in _drawn(pool, generator))
    # 2 of weight 1 and 38 of weight 1/16, 4 at a time, without replacement.
    assert 100 < counts["r0"] < 180
    assert 3 < counts["r9"] < 35


def _drawn(pool, generator):
    """Four, without a trace."""
    before = {entry.name: entry.uses for entry in pool.training}
    found = pool.draw(4, generator)
    for entry in pool.training:
        entry.uses = before[entry.name]
    return found


def test_the_lag_of_a_sample_ends_with_its_first_draw(tmp_path, target, make_sample):
    now = time.time()
    fill(tmp_path, [replace(make_sample(f"r{i}", seed=i), captured=now - 100 * i if i else 0.0) for i in range(4)])
    pool = make_pool(tmp_path, target, heldout_fraction=0.001)
    pool.refill({next(e.name for e in SpoolSource(tmp_path).poll() if "r3" in e.name): 1})
    generator = torch.Generator().manual_seed(0)
    pool.draw(4, generator)
    assert sorted(pool.lags()) == pytest.approx([100, 200], abs=50), (
        "unknown times, and uses before a restart, say nothing"
    )
    pool.draw(4, generator)
    assert pool.lags() == []


def arrive(tmp_path, make_sample, pool, numbers):
    fill(tmp_path, [make_sample(f"r{i}", seed=i) for i in numbers])
    pool.refill()


def requests(pool):
    return [int(entry.sample.request[1:]) for entry in pool.training]


def test_earlier_samples_are_kept_by_lot_beside_the_newest_and_no_more_than_the_pool_keeps(
    tmp_path, target, make_sample
):
    settings = {"heldout_fraction": 1e-9, "replay_fraction": 0.25, "size": 16}
    pool = make_pool(tmp_path, target, **settings)
    arrive(tmp_path, make_sample, pool, range(40))
    arrive(tmp_path, make_sample, pool, range(40, 80))
    kept = requests(pool)
    assert kept == sorted(kept)
    assert len(kept) == 16
    assert kept[-12:] == list(range(68, 80))
    assert len(list(tmp_path.glob("*.sample"))) == 16
    # Of 68 earlier ones, not those that came just before: their age is no matter.
    assert kept[0] < 60
    again = make_pool(tmp_path, target, **settings)
    again.refill()
    assert requests(again) == kept
    oldest_first = make_pool(tmp_path, target, **settings | {"replay_fraction": 0.0, "size": 14})
    oldest_first.refill()
    assert requests(oldest_first) == kept[2:]


def test_each_of_the_earlier_samples_is_as_likely_to_be_kept(make_sample):
    one, times = make_sample("r"), Counter()
    for salt in range(60):
        source = SimpleNamespace(poll=lambda: iter(()))
        pool = Pool(source, lambda _: one, size=8, heldout_size=1, heldout_fraction=1e-9, replay_fraction=0.5,
                    salt=bytes([salt]))  # fmt: skip
        for number in range(24):
            pool._keep(Entry(one, str(number), lambda: None))
        times.update(int(entry.name) for entry in pool.training)
    assert all(times[number] == 60 for number in range(20, 24))
    # Four of twenty: twelve of sixty on average for each, and half of all for the first ten.
    assert all(0 < times[number] < 30 for number in range(20))
    assert 85 < sum(times[number] for number in range(10)) < 155


def test_a_share_of_what_is_drawn_was_drawn_before_and_is_no_use(tmp_path, target, make_sample):
    fill(tmp_path, [make_sample(f"r{i}", seed=i) for i in range(12)])
    pool = make_pool(tmp_path, target, heldout_fraction=1e-9, replay_fraction=0.25)
    pool.refill()
    generator = torch.Generator().manual_seed(0)
    first = {s.request for s in pool.draw(4, generator)}
    assert len(first) == 4
    drawn = [s.request for s in pool.draw(4, generator)]
    assert len(set(drawn)) == 4
    assert len(first & set(drawn)) == 1
    assert pool.draws() == 7


def test_earlier_samples_leave_at_their_age_and_for_room(tmp_path, target, make_sample):
    now = [0.0]
    pool = make_pool(tmp_path, target, heldout_fraction=1e-9, replay_fraction=0.5, size=8, max_age_seconds=HOUR,
                     clock=lambda: now[0])  # fmt: skip
    arrive(tmp_path, make_sample, pool, range(12))
    size = sum(entry.size for entry in pool.training) / 8
    pool._max_bytes = 6.5 * size
    now[0] = HOUR / 2
    arrive(tmp_path, make_sample, pool, range(12, 14))
    assert len(pool.training) == 6
    assert requests(pool)[-3:] == [11, 12, 13]
    now[0] = HOUR + 60
    pool.refill()
    assert requests(pool) == [12, 13]
    assert len(list(tmp_path.glob("*.sample"))) == 2
