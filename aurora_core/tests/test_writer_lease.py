"""One writer of a volume: who may write, who waits, and what becomes of a writer that stood still."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from aurora_core.errors import LeaseLostError, WeightsError
from aurora_core.weights import lease as lease_module
from aurora_core.weights.lease import FENCE_SECONDS, RENEW_SECONDS, TAKEOVER_SECONDS, WriterLease
from aurora_core.weights.store import WeightsStore


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def without_locks(monkeypatch):
    """A file system whose locks do not reach other hosts, or that has none."""

    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lease_module.fcntl, "flock", refuse)


def on(host, folder, clock):
    return WriterLease(folder, host=host, clock=clock)


def writing(text):
    def write(folder):
        (folder / "model.safetensors").write_text(text)
        (folder / "optimizer.safetensors").write_text(text)

    return write


@pytest.mark.usefixtures("without_locks")
def test_a_second_writer_waits_as_long_as_the_first_renews(tmp_path, clock):
    first, second = on("a", tmp_path, clock), on("b", tmp_path, clock)
    assert first.take()
    for _ in range(int(3 * TAKEOVER_SECONDS / RENEW_SECONDS)):
        assert not second.take()
        clock.now += RENEW_SECONDS
        first.renew()
    clock.now += TAKEOVER_SECONDS - 1
    assert not second.take()


@pytest.mark.usefixtures("without_locks")
def test_a_lease_that_is_not_renewed_is_taken_over_and_its_old_holder_writes_no_more(tmp_path, clock):
    first, second = on("a", tmp_path, clock), on("b", tmp_path, clock)
    assert first.take()
    assert not second.take()
    clock.now += TAKEOVER_SECONDS + 1
    assert second.take()
    second.check()
    for act in (first.check, first.renew):
        with pytest.raises(LeaseLostError, match="took over"):
            act()
    first.release()
    second.check()


@pytest.mark.usefixtures("without_locks")
def test_a_released_lease_is_free_at_once(tmp_path, clock):
    first, second = on("a", tmp_path, clock), on("b", tmp_path, clock)
    assert first.take()
    first.release()
    assert second.take()


@pytest.mark.usefixtures("without_locks")
def test_of_many_that_take_over_at_once_one_gets_it(tmp_path, clock):
    assert on("old", tmp_path, clock).take()
    writers = [on(f"host-{n}", tmp_path, clock) for n in range(16)]
    assert not any(writer.take() for writer in writers)
    clock.now += TAKEOVER_SECONDS + 1
    with ThreadPoolExecutor(16) as pool:
        taken = list(pool.map(WriterLease.take, writers))
    assert sum(taken) == 1


@pytest.mark.usefixtures("without_locks")
def test_a_holder_that_stood_still_and_was_not_replaced_continues(tmp_path, clock):
    first = on("a", tmp_path, clock)
    assert first.take()
    clock.now += 10 * FENCE_SECONDS
    first.check()


HOLDER = """
import sys
from pathlib import Path
from aurora_core.weights.lease import WriterLease
assert WriterLease(Path(sys.argv[1])).take()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_process_of_this_host_that_was_killed_is_replaced_at_once(tmp_path, clock):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "held\n"
    next_one = WriterLease(tmp_path, clock=clock)
    assert not next_one.take()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert next_one.take()
    next_one.release()


@pytest.mark.usefixtures("without_locks")
def test_junk_in_place_of_a_lease_costs_the_wait_and_nothing_else(tmp_path, clock):
    (tmp_path / "writer-00000007.json").write_bytes(b"[" * 4000)
    os.mkfifo(tmp_path / "writer-00000009.json")
    (tmp_path / "writer-9.json").write_text("{}")
    writer = on("a", tmp_path, clock)
    assert not writer.take()
    clock.now += TAKEOVER_SECONDS + 1
    assert writer.take()
    writer.check()
    assert [path.name for path in tmp_path.glob("writer-0*")] == ["writer-00000010.json"]


@pytest.mark.usefixtures("without_locks")
def test_a_writer_that_keeps_the_lease_is_an_error_with_the_remedy(tmp_path, clock, monkeypatch):
    assert on("a", tmp_path, clock).take()
    second = on("b", tmp_path, clock)

    def pass_time(_seconds):
        clock.now += 1.0
        (tmp_path / "writer-00000000.json").write_text(f'{{"host": "a", "released": false, "beat": {clock.now}}}')

    monkeypatch.setattr(second._ended, "wait", pass_time)
    with pytest.raises(WeightsError, match="a claim of its own"):
        second.__enter__()


def test_two_writers_never_publish_a_mixture_even_with_one_process_id(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 7)
    old, new = WeightsStore(tmp_path), WeightsStore(tmp_path)

    def while_another_publishes(folder):
        (folder / "model.safetensors").write_text("old")
        new.publish(writing("new"), target_fingerprint="t")
        (folder / "optimizer.safetensors").write_text("old")

    with pytest.raises(WeightsError):
        old.publish(while_another_publishes, target_fingerprint="t")
    for version in new.versions():
        new.verify(version)
        texts = {path.read_text() for path in new.folder(version).glob("*.safetensors")}
        assert texts == {"new"}


@pytest.mark.usefixtures("without_locks")
def test_a_writer_that_lost_the_lease_while_it_wrote_publishes_and_deletes_nothing(tmp_path, clock):
    old, new = on("a", tmp_path / "lease", clock), on("b", tmp_path / "lease", clock)
    store, others = WeightsStore(tmp_path / "weights", old), WeightsStore(tmp_path / "weights", new)
    assert old.take()
    assert not new.take()

    def too_slow(folder):
        writing("old")(folder)
        clock.now += TAKEOVER_SECONDS + 1
        assert new.take()

    with pytest.raises(LeaseLostError):
        store.publish(too_slow, target_fingerprint="t")
    assert others.publish(writing("new"), target_fingerprint="t").version == 0
    assert list((tmp_path / "weights" / "staging").iterdir()) == []
    with pytest.raises(LeaseLostError):
        store.prune(0, ())


@pytest.mark.usefixtures("without_locks")
def test_a_folder_that_a_new_writer_cleared_away_cannot_be_published_half(tmp_path, clock):
    new = on("b", tmp_path / "lease", clock)
    old, others = WeightsStore(tmp_path / "weights"), WeightsStore(tmp_path / "weights", new)
    assert new.take()

    def cleared_meanwhile(folder):
        (folder / "model.safetensors").write_text("old")
        others.publish(writing("new"), target_fingerprint="t")

    with pytest.raises(WeightsError):
        old.publish(cleared_meanwhile, target_fingerprint="t")
    assert others.versions() == [0]
    others.verify(0)
