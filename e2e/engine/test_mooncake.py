"""Samples through a real Mooncake store over TCP: the way there, and what happens when an end dies."""

import time

import httpx
import pytest
import torch
from aurora_core.config import SamplesConfig
from aurora_core.engine.pace import Pace
from aurora_core.engine.sender import Sender
from aurora_core.errors import SampleError, TransportError
from aurora_core.samples.mooncake import MooncakeSink, MooncakeSource
from aurora_core.samples.schema import Sample, decode, encode
from aurora_demo import store
from machine import patience
from ports import free_port
from workshop.waiting import wait

pytestmark = pytest.mark.filterwarnings("ignore")
TOKEN = "sample-token"  # noqa: S105 (of this test)


def some_settings():
    return SamplesConfig(
        transport="Mooncake",
        mooncake_master=f"127.0.0.1:{free_port()}",
        mooncake_metadata=f"http://127.0.0.1:{free_port()}/metadata",
        mooncake_segment_bytes=64 << 20,
        trainer_url=f"http://127.0.0.1:{free_port()}",
    )


@pytest.fixture(scope="module")
def master(tmp_path_factory):
    """Where a store is."""
    made = some_settings()
    process = store.start(made, tmp_path_factory.mktemp("store") / "log")
    yield made
    process.kill()


@pytest.fixture
def settings(master):
    return master.model_copy(update={"trainer_url": f"http://127.0.0.1:{free_port()}"})


def answers(url):
    try:
        return bool(httpx.get(url, timeout=1))
    except httpx.HTTPError:
        return False


def started(settings):
    """A source whose endpoint answers."""
    made = MooncakeSource(settings, TOKEN)
    made.start()
    wait_for_endpoint(settings)
    return made


def wait_for_endpoint(settings):
    wait("the endpoint", lambda: answers(settings.trainer_url), patience(10), every=0.05)


@pytest.fixture
def source(settings):
    made = started(settings)
    yield made
    made.close()


def sample(name="r", rows=100):
    generator = torch.Generator().manual_seed(0)
    aux, last = torch.randn(rows, 96, generator=generator), torch.randn(rows, 32, generator=generator)
    return Sample(name, torch.arange(rows + 1), 5, aux, last, 0, "t")


def test_samples_arrive_intact(settings, source):
    sink = MooncakeSink(settings, TOKEN)
    for i in range(20):
        sink.put(f"s{i}", encode(sample(f"s{i}")))
    assert source.backlog() == 20
    for i, delivery in enumerate(source.poll()):
        back = decode(delivery.read(), target="t", vocab_size=128, aux_width=96, hidden=32, dtypes=(torch.float32,))
        assert back.request == f"s{i}"
        assert torch.equal(back.aux, sample().aux)
    sink.close()


def test_what_was_read_is_out_of_the_store_at_once(settings, source):
    sink = MooncakeSink(settings, TOKEN)
    payload = bytes(4 << 20)
    for i in range(40):
        sink.put(f"through{i}", payload)
        (delivery,) = source.poll()
        assert delivery.read() == payload
        assert sink._store.get(f"through{i}") == b""
    sink.close()


def test_a_trainer_that_has_as_many_waiting_as_its_pool_takes_refuses_more(settings):
    few = settings.model_copy(update={"pool_size": 2, "mooncake_replicas": 2, "mooncake_soft_pin": True})
    source, sink = started(few), MooncakeSink(few, TOKEN)
    try:
        for i in range(2):
            sink.put(f"few{i}", b"bytes")
        with pytest.raises(TransportError) as caught:
            sink.put("more", b"bytes")
        assert caught.value.reason == "trainer_behind"
        assert sink._store.get("more") == b""
        assert [delivery.read() for delivery in source.poll()] == [b"bytes"] * 2
        sink.put("more", b"bytes")
    finally:
        sink.close()
        source.close()


def test_what_is_larger_than_a_sample_can_be_is_refused_unread_and_out_of_the_store(settings):
    small = MooncakeSource(settings, TOKEN, most_bytes=1 << 16)
    small.start()
    sink = MooncakeSink(settings, TOKEN)
    wait_for_endpoint(settings)
    for name, size in (("large", (1 << 16) + 1), ("fits", 1 << 16)):
        sink.put(name, b"x" * size)
    large, fits = small.poll()
    with pytest.raises(SampleError, match="at most") as caught:
        large.read()
    assert caught.value.reason == "too_large"
    assert len(fits.read()) == 1 << 16
    with pytest.raises(TransportError, match="no longer"):
        large.read()
    headers, body = {"Authorization": f"Bearer {TOKEN}"}, b'{"name": "' + b"x" * 5000 + b'"}'
    assert httpx.post(f"{settings.trainer_url}/samples", content=body, headers=headers).status_code == 422
    sink.close()
    small.close()


def test_a_stranger_cannot_announce_samples(settings, source):
    assert httpx.post(f"{settings.trainer_url}/samples", json={"name": "x"}).status_code == 401
    sink = MooncakeSink(settings, "wrong")
    with pytest.raises(TransportError) as caught:
        sink.put("x", b"y")
    assert caught.value.reason == "trainer_unreachable"
    sink.close()
    assert source.backlog() == 0


def test_a_sample_that_the_trainer_cannot_hear_of_is_taken_back(settings):
    sink = MooncakeSink(settings, TOKEN)
    for i in range(3):
        with pytest.raises(TransportError) as caught:
            sink.put(f"lonely{i}", b"bytes")
        assert caught.value.reason == "trainer_unreachable"
        assert sink._store.get(f"lonely{i}") == b""
    sink.close()


def test_a_full_store_loses_samples_and_says_so(settings, source):
    """The store makes room or refuses; whatever it does, a sample is intact, or gone with a reason."""
    small = settings.model_copy(update={"mooncake_segment_bytes": 16 << 20})
    sink = MooncakeSink(small, TOKEN)
    payload, outcomes = bytes(4 << 20), []
    for i in range(10):
        try:
            sink.put(f"big{i}", payload)
        except TransportError as error:
            outcomes.append(error.reason)
    for delivery in source.poll():
        try:
            assert delivery.read() == payload
            outcomes.append("intact")
        except TransportError as error:
            outcomes.append(error.reason)
    sink.close()
    assert len(outcomes) == 10
    assert set(outcomes) <= {"intact", "gone", "store_full"}
    assert outcomes.count("intact") <= 4


def test_without_a_store_the_sender_is_refused():
    sink = MooncakeSink(some_settings(), TOKEN)
    with pytest.raises(TransportError) as caught:
        sink.put("x", b"y")
    assert caught.value.reason == "store_lost"
    sink.close()


def test_a_store_that_dies_and_comes_back_is_used_again(tmp_path):
    settings = some_settings()
    process = store.start(settings, tmp_path / "log")
    source, sink = started(settings), MooncakeSink(settings, TOKEN)
    try:
        sink.put("before", b"held by what dies")
        process.kill()
        with pytest.raises(TransportError) as caught:
            sink.put("meanwhile", b"bytes")
        assert caught.value.reason == "store_lost"
        process = store.start(settings, tmp_path / "log")

        def is_put():
            try:
                sink.put("after", b"bytes")
            except TransportError:
                return False
            return True

        wait("the sender finds the store that came back", is_put, patience(30), every=0.5)
        arrived = {delivery.name: delivery for delivery in source.poll()}
        assert set(arrived) == {"before", "after"}
        assert arrived["after"].read() == b"bytes"
        with pytest.raises(TransportError) as caught:
            arrived["before"].read()
        assert caught.value.reason == "gone"
    finally:
        sink.close()
        source.close()
        process.kill()


def test_capture_pauses_while_there_is_no_store_and_resumes_when_it_is_back(tmp_path):
    """Nobody waits for a store that died: samples are counted as passed over until one arrives again."""
    settings = some_settings()
    process = store.start(settings, tmp_path / "log")
    source = started(settings)
    sender = Sender(lambda: MooncakeSink(settings, TOKEN), None, 64, pace=Pace())
    sender.start()

    def offered(until):
        """Offers ten samples a second until that is true; returns the longest that an offer took, in seconds."""
        longest, deadline = 0.0, time.monotonic() + patience(90)
        while not until():
            began = time.monotonic()
            assert began < deadline, (sender.sent, sender.dropped)
            if not sender.pace.paused:
                sender.offer(sample(f"s{began}"))
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.1)
        return longest

    try:
        offered(lambda: sender.sent["samples"] >= 3)
        process.kill()
        assert offered(lambda: sender.pace.paused) < patience(0.5)
        assert sender.dropped["store_lost"] >= 3
        assert sender.pace.why_paused.startswith("store_lost: ")
        before = sender.sent["samples"]
        process = store.start(settings, tmp_path / "log")
        assert offered(lambda: sender.sent["samples"] > before) < patience(0.5)
        assert not sender.pace.why_paused
        names = [delivery.name for delivery in source.poll()]
        assert len(names) >= before + 1
    finally:
        sender.close()
        source.close()
        process.kill()
