"""What is loaded is what was verified, and no file on the volume ends a process."""

import contextlib
import json
import os

import hostile_files
import pytest
import torch
from aurora_core.config import DraftConfig
from aurora_core.errors import WeightsError
from aurora_core.protocol.trainer import TrainerStatus
from aurora_core.samples.pool import Pool
from aurora_core.samples.schema import decode, encode
from aurora_core.training import state
from aurora_core.training.init import ensure_first, first_draft
from aurora_core.training.start import Paths, resume
from aurora_core.training.trainer import Trainer
from aurora_core.weights import loaded
from aurora_core.weights.manifest import SCHEMA, Manifest, Provenance, parse
from aurora_core.weights.store import MANIFEST, WeightsStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_trainer import CPU, config, make_run

from aurora_core import regular

ROUNDS = 300


def plain(folder):
    (folder / "model.safetensors").write_bytes(b"weights")


@pytest.fixture
def store(tmp_path):
    made = WeightsStore(tmp_path / "weights")
    for _ in range(3):
        made.publish(plain, target_fingerprint="t")
    return made


def only_this_version(store):
    found, damaged = store.manifests()
    assert [one.version for one in found] == [0, 2]
    assert list(damaged) == [1]
    for check in (store.manifest, store.verify, store.read):
        with pytest.raises(WeightsError):
            check(1)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_bit_of_a_manifest_can_change_unseen(store, data):
    text = (store.folder(1) / MANIFEST).read_bytes()
    damaged = bytearray(text)
    damaged[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(WeightsError):
        assert parse(damaged.decode(errors="replace"), "here") == parse(text.decode(), "here")


def test_mutated_manifests_are_refused_or_say_what_a_manifest_can(store):
    text = (store.folder(1) / MANIFEST).read_text()
    for rng in hostile_files.rounds(ROUNDS):
        (store.folder(1) / MANIFEST).write_bytes(hostile_files.manifest(rng, text))
        found, damaged = store.manifests()
        assert len(found) + len(damaged) == 3
        assert all(0 <= one.version < 10**9 and one.step < 2**53 for one in found)


def test_mutated_samples_are_taken_in_or_refused_and_let_go_of(target, make_sample):
    def read(payload):
        return decode(payload, target=target.fingerprint, vocab_size=target.vocab_size, aux_width=96, hidden=32,
                      dtypes=(torch.float32,))  # fmt: skip

    payload = encode(make_sample())
    for rng in hostile_files.rounds(ROUNDS):
        source = hostile_files.Source(hostile_files.sample(rng, payload))
        pool = Pool(source, read, size=9, heldout_size=9, heldout_fraction=0.5)
        taken = pool.refill()
        assert taken + sum(pool.rejected.values()) == 1
        assert source.delivery.gone is not bool(taken)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "giant", "missing", "other schema"])
def test_a_manifest_that_is_none_costs_its_own_version_alone(store, tmp_path, kind):
    path = store.folder(1) / MANIFEST
    text = path.read_text()
    path.unlink()
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "link":
            (tmp_path / "elsewhere").write_text(text)
            path.symlink_to(tmp_path / "elsewhere")
        case "folder":
            path.mkdir()
        case "giant":
            with path.open("wb") as file:
                file.truncate(1 << 40)
        case "other schema":
            path.write_text(text.replace(f'"schema_version": {SCHEMA}', '"schema_version": 99'))
    if kind in {"link", "giant", "other schema"}:
        only_this_version(store)
    else:
        assert store.versions() == [0, 2]


def test_a_version_that_is_a_link_is_none(store, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    store.folder(1).rename(tmp_path / "elsewhere" / "moved")
    store.folder(1).symlink_to(tmp_path / "elsewhere" / "moved")
    assert store.versions() == [0, 2]


def test_a_file_that_grew_is_not_read_into_memory(store):
    with (store.folder(1) / "model.safetensors").open("r+b") as file:
        file.truncate(1 << 40)
    for check in (store.verify, store.read):
        with pytest.raises(WeightsError, match="corrupt"):
            check(1)


def test_a_file_is_read_where_it_is_regular_and_no_larger_than_expected(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert regular.read(tmp_path / "file", 5) == b"12345"
    with pytest.raises(regular.TooLargeError, match="5 bytes"):
        regular.read(tmp_path / "file", 4)
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "."):
        with pytest.raises(regular.NotRegularError):
            regular.read(tmp_path / name, 5)


def test_a_manifest_says_what_made_the_version(store):
    made = Provenance(image="registry/trainer:1", configuration="0" * 64, samples=7)
    version = store.publish(plain, target_fingerprint="t", provenance=made).version
    assert store.verify(version).provenance == made


def test_no_number_is_given_twice_on_a_volume_that_was_emptied(tmp_path):
    store = WeightsStore(tmp_path)
    assert store.publish(plain, target_fingerprint="t", after=7).version == 8


def test_an_engine_reads_the_configuration_that_was_verified(tmp_path, target, monkeypatch):
    store = WeightsStore(tmp_path)
    ensure_first(store, DraftConfig(draft_vocab_size=40), target, 0)
    before = loaded.read(store, 0, target.fingerprint)
    read = WeightsStore.read

    def changed_right_after(self, version, most_bytes=None):
        found = read(self, version, most_bytes)
        path = self.folder(version) / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"num_attention_heads": 2}))
        return found

    monkeypatch.setattr(WeightsStore, "read", changed_right_after)
    assert loaded.read(store, 0, target.fingerprint).config == before.config


def saved(tmp_path, target, make_sample):
    store = WeightsStore(tmp_path / "state")
    trainer = Trainer.of(config(), first_draft(DraftConfig(draft_vocab_size=48), target, 0), target, CPU)
    for step in range(2):
        trainer.train_step([[make_sample(f"r{i}", seed=i) for i in range(4)]])
        state.save(store, trainer, {"a": step}, published=0)
    ensure_first(WeightsStore(tmp_path / "weights"), DraftConfig(draft_vocab_size=48), target, 0)
    return store


def rewrite(store, version, name, content):
    """A state with another file and a manifest that is right: what a writer without scruples, or a bug, would leave."""

    def write(folder):
        for path in store.folder(version).iterdir():
            if path.name != MANIFEST:
                (folder / path.name).write_bytes(content if path.name == name else path.read_bytes())

    manifest = store.manifest(version)
    return store.publish(write, target_fingerprint=manifest.target_fingerprint, step=99).version


POISON = {
    "no JSON": ("trainer.json", b"{"),
    "other JSON": ("trainer.json", b"[]"),
    "deep JSON": ("trainer.json", b"[" * 100_000),
    "no count": ("trainer.json", b'{"uses": {"a": "many"}, "published": 0}'),
    "no tensors": ("optimizer.safetensors", b"\x02\0\0\0\0\0\0\0{}"),
    "no safetensors": ("optimizer.safetensors", b"junk"),
    "no draft": ("model.safetensors", b"junk"),
    "no shape": ("config.json", b"null"),
}


@pytest.mark.parametrize("kind", POISON)
def test_no_state_ends_training_and_none_is_met_twice(tmp_path, target, make_sample, kind):
    store = saved(tmp_path, target, make_sample)
    rewrite(store, 1, *POISON[kind])
    paths = Paths(tmp_path / "weights", tmp_path / "state")
    start = resume(config(), target, paths)
    assert (start.trainer.step, start.uses) == (2, {"a": 1})
    if POISON[kind][0] in {"trainer.json", "optimizer.safetensors"}:
        assert start.damaged == 1
        assert resume(config(), target, paths).damaged == 0


def test_training_starts_from_the_newest_version_that_can_be_read(tmp_path, target):
    store = WeightsStore(tmp_path / "weights")
    ensure_first(store, DraftConfig(draft_vocab_size=48), target, 0)
    store.publish(plain, target_fingerprint=target.fingerprint)
    start = resume(config(), target, Paths(tmp_path / "weights", tmp_path / "state"))
    assert (start.published, start.damaged) == (0, 1)


def test_the_last_two_states_are_kept_and_the_first_is_none_of_them_for_ever(tmp_path, target):
    store = WeightsStore(tmp_path)
    trainer = Trainer.of(config(), first_draft(DraftConfig(draft_vocab_size=48), target, 0), target, CPU)
    for _ in range(3):
        state.save(store, trainer, {}, published=0)
    assert store.versions() == [1, 2]


def test_damaged_states_are_counted(tmp_path, target, make_sample):
    rewrite(saved(tmp_path, target, make_sample), 1, *POISON["no JSON"])
    run = make_run(tmp_path, target)
    assert run._metrics.registry.get_sample_value("aurora_train_failures_total", {"what": "damaged"}) == 1
    run._write_status(waiting=True)
    assert TrainerStatus.of(tmp_path / "status.json").damaged == 1


def test_manifests_are_compared_in_one_form():
    one = Manifest(version=1, created="2026-01-01T00:00:00Z", target_fingerprint="t", holdout_accept_length=1.5,
                   files={"a": {"bytes": 1, "sha256": "0" * 64}}).sealed()  # fmt: skip
    assert parse(one.model_dump_json(indent=2), "here") == one
    assert not one.model_copy(update={"step": 1}).intact


def test_a_volume_that_cannot_be_read_costs_a_publication_and_not_training(tmp_path, target, make_sample, monkeypatch):
    saved(tmp_path, target, make_sample)
    run = make_run(tmp_path, target)

    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(WeightsStore, "versions", denied)
    run._publisher.publish(run.trainer, [make_sample()], Provenance())
    assert run._metrics.registry.get_sample_value("aurora_train_failures_total", {"what": "publish"}) == 1
