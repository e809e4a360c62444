"""Samples between the actors of mode Online: none is lost or doubled, whoever is killed, and both ends are bounded."""

import pytest
from aurora_core.config import SamplesConfig
from aurora_core.errors import ConfigError, TransportError
from aurora_core.online.samples import Collector, RaySource
from aurora_core.samples.open import open_source
from aurora_core.samples.pool import Pool
from aurora_core.samples.spool import SpoolSink
from aurora_core.training.arrivals import Arrivals
from aurora_core.training.metrics import TrainingMetrics
from hypothesis import given, settings
from hypothesis import strategies as st

MOST = 1 << 20
LARGEST = 1 << 16


class Objects:
    """Ray's object store, as far as samples use it; an owner that dies takes its objects along."""

    def __init__(self):
        self.there = {}

    def put(self, payload):
        self.there[len(self.there)] = payload
        return len(self.there) - 1

    def fetch(self, reference):
        if (found := self.there[reference]) is None:
            raise ConnectionError
        return found

    def owner_dies(self):
        self.there = dict.fromkeys(self.there)


class Line:
    """An engine's end and the trainer's, and what its pool took."""

    def __init__(self, folder, in_flight=4):
        self.objects, self.folder, self.in_flight = Objects(), folder, in_flight
        self.sink = SpoolSink(folder, MOST)
        self.start_engine()
        self.start_trainer()
        # What the trainer takes.
        self.exchange()

    def start_engine(self):
        self.collector = Collector(self.folder, MOST, 1e9)

    def start_trainer(self):
        self.source, self.pool = RaySource(self.in_flight, self.objects.fetch, LARGEST), {}

    def exchange(self, *, answered=True):
        offers, gone = self.collector.offers(self.objects.put)
        lost = dict(self.collector.unreported)
        receipt = self.source.exchange("engine-0", offers, gone, lost)
        if answered:
            self.collector.answered(gone, receipt, lost)
        return receipt

    def poll(self):
        for delivery in self.source.poll():
            try:
                payload = delivery.read()
            except TransportError:
                delivery.done()
                continue
            assert delivery.name not in self.pool, "taken twice"
            self.pool[delivery.name] = (payload, delivery)

    def files(self):
        return {path.name for path in self.folder.glob("*.sample")}


def settle(line, rounds=12):
    for _ in range(rounds):
        line.exchange()
        line.poll()


def test_a_sample_arrives_and_its_file_goes_when_the_pool_lets_go(tmp_path):
    line = Line(tmp_path)
    line.sink.put("a", b"one")
    settle(line, 2)
    [(payload, delivery)] = line.pool.values()
    assert payload == b"one"
    assert line.files()
    delivery.done()
    settle(line, 2)
    assert not line.files()
    assert line.collector.handed == 1


def test_what_finds_no_room_stays_in_the_spool(tmp_path):
    line = Line(tmp_path, in_flight=2)
    for number in range(5):
        line.sink.put(f"r{number}", b"x")
    for _ in range(3):
        line.exchange()
    assert (line.source.backlog(), line.collector.waiting, len(line.files())) == (2, 3, 5)
    settle(line)
    assert len(line.pool) == 5


def test_a_killed_trainer_is_offered_its_pool_again(tmp_path):
    line = Line(tmp_path)
    for number in range(6):
        line.sink.put(f"r{number}", b"x")
    settle(line)
    line.start_trainer()
    settle(line)
    assert len(line.pool) == 6


def test_a_killed_engine_offers_what_never_arrived_and_nothing_twice(tmp_path):
    line = Line(tmp_path, in_flight=8)
    line.sink.put("in-pool", b"x")
    settle(line, 2)
    line.sink.put("in-mailbox", b"x")
    line.exchange()
    line.objects.owner_dies()
    line.start_engine()
    settle(line)
    assert len(line.pool) == 2


def test_a_reference_that_leads_nowhere_is_asked_for_again(tmp_path):
    line = Line(tmp_path)
    line.sink.put("a", b"x")
    line.exchange()
    line.objects.owner_dies()
    line.poll()
    assert not line.pool
    settle(line)
    assert len(line.pool) == 1


def test_a_file_that_is_no_sample_of_ours_is_counted(tmp_path):
    line = Line(tmp_path)
    (tmp_path / "000000000001-link.sample").symlink_to("/etc/hostname")
    settle(line, 2)
    assert line.collector.lost == {"not_a_file": 1}
    assert not line.files()


@pytest.mark.parametrize("known", [True, False])
def test_a_sparse_giant_is_never_read_into_the_engines_memory(tmp_path, known):
    """Neither before the trainer reported how large a sample can be, nor after."""
    line = Line(tmp_path)
    line.collector.most_bytes = 1 << 50
    if not known:
        line.start_engine()
        line.source.largest = 0
    giant = tmp_path / "000000000001-x.sample"
    with giant.open("wb") as file:
        file.truncate(8 << 40)
    line.sink = SpoolSink(tmp_path, 1 << 50)
    line.sink.put("good", b"x")
    settle(line, 3)
    assert line.collector.lost == ({"too_large": 1} if known else {})
    assert giant.exists() is not known
    assert [payload for payload, _ in line.pool.values()] == ([b"x"] if known else [])


def test_what_was_lost_is_a_counter_of_the_trainer_that_hears_of_it(tmp_path):
    line = Line(tmp_path)
    pool = Pool(line.source, lambda payload: payload, size=4, heldout_size=4, heldout_fraction=0.0)
    training_metrics = TrainingMetrics(1)
    arrivals = Arrivals(pool, training_metrics, {})

    def counted():
        arrivals.refill()
        return training_metrics.registry.get_sample_value("aurora_train_samples_lost_total", {"reason": "not_a_file"})

    def lose(name):
        (tmp_path / f"{name}.sample").symlink_to("/etc/hostname")
        line.exchange()

    lose("000000000001-a")
    assert (counted(), counted()) == (1, 1)
    settle(line, 3)
    lose("000000000002-b")
    assert counted() == 2
    assert pool.lost() == {"not_a_file": 2} == line.collector.lost
    line.start_trainer()
    settle(line, 2)
    assert line.source.lost() == {}, "another trainer counts what is lost from then on"


def test_the_transport_is_refused_outside_of_the_mode(tmp_path):
    with pytest.raises(ConfigError, match="run aurora-core online"):
        open_source(SamplesConfig(transport="Ray"), tmp_path, "", 32)


@settings(max_examples=60, deadline=None)
@given(events=st.lists(st.sampled_from("sssxxuppdTE"), max_size=40))
def test_whatever_happens_every_sample_is_in_the_pool_once_or_was_let_go_of(tmp_path_factory, events):
    line, sent, released = Line(tmp_path_factory.mktemp("spool"), in_flight=2), 0, set()
    for event in [*events, *"xp" * 8]:
        match event:
            case "s":
                line.sink.put(f"r{sent}", b"x")
                sent += 1
            case "x":
                line.exchange()
            case "u":  # the answer is lost
                line.exchange(answered=False)
            case "p":
                line.poll()
            case "d" if line.pool:
                name, (_, delivery) = line.pool.popitem()
                delivery.done()
                released.add(name)
            case "T":
                line.start_trainer()
            case "E":
                line.objects.owner_dies()
                line.start_engine()
    settle(line, 2 * sent + 4)
    # What the pool let go of comes back only to a trainer that was killed before the engine heard of it.
    assert len(line.pool.keys() | released) == sent
    assert len(line.files()) == len(line.pool)
