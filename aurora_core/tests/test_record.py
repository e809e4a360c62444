"""The volume's own memory of promotion, and what an engine starts with where its version is gone."""

import contextlib

import pytest
import torch
from aurora_core.errors import WeightsError
from aurora_core.protocol.agent import Record
from aurora_core.weights.manifest import parse
from aurora_core.weights.record import FILE, read, write
from aurora_core.weights.store import MANIFEST, WeightsStore
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

RECORD = Record(version=7, steps=3, digest="d", decided=8)


def filler(value):
    def fill(folder):
        (folder / "config.json").write_text("{}")
        save_file({"w": torch.full((4,), float(value))}, folder / "model.safetensors")

    return fill


@pytest.fixture
def store(tmp_path):
    made = WeightsStore(tmp_path / "weights")
    for value in range(10):
        made.publish(filler(value), target_fingerprint="t")
    return made


def test_a_record_is_read_back_and_replaced(tmp_path):
    assert read(tmp_path / "none") is None
    write(tmp_path / "record", RECORD)
    write(tmp_path / "record", RECORD.model_copy(update={"version": 9}))
    assert read(tmp_path / "record").version == 9
    assert [path.name for path in (tmp_path / "record").iterdir()] == [FILE]


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_no_bytes_in_its_place_raise_anything_else(tmp_path_factory, junk):
    folder = tmp_path_factory.mktemp("junk")
    (folder / FILE).write_bytes(junk)
    with contextlib.suppress(WeightsError):
        assert isinstance(read(folder), Record)


def test_version_0_is_never_pruned(store):
    assert store.prune(5, {8, 9}) == [1, 2, 3, 4]
    assert store.versions() == [0, 5, 6, 7, 8, 9]


def test_an_engine_starts_with_what_it_should_serve(store):
    assert store.to_serve(7, 3, "") == (7, 3, "")
    assert store.to_serve(7, 3, store.manifest(7).digest) == (7, 3, "")


def test_an_engine_whose_version_is_gone_starts_target_only_and_says_so(store):
    store.prune(2, ())
    version, steps, why = store.to_serve(5, 3, "")
    assert (version, steps) == (9, 0)
    assert "version 5 is not in" in why
    assert "target-only" in why


def test_a_namesake_on_another_volume_is_not_served_as_stable(store, tmp_path):
    other = WeightsStore(tmp_path / "other")
    for value in range(20, 30):
        other.publish(filler(value), target_fingerprint="t")
    assert store.manifest(7).digest != other.manifest(7).digest
    version, steps, why = other.to_serve(7, 3, store.manifest(7).digest)
    assert steps == 0
    assert "replaced" in why
    assert version in other.versions()


def test_a_damaged_newest_version_is_passed_by_and_nothing_at_all_is_an_error(store, tmp_path):
    (store.folder(9) / "model.safetensors").write_bytes(b"damaged")
    assert store.to_serve(77, 3, "")[0] == 8
    with pytest.raises(WeightsError, match="no other version"):
        WeightsStore(tmp_path / "empty").to_serve(0, 0, "")


def test_one_damaged_manifest_costs_its_own_version_only(store):
    (store.folder(4) / MANIFEST).write_text("{")
    found, damaged = store.manifests()
    assert [one.version for one in found] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert set(damaged) == {4}


def test_a_manifest_that_names_no_files_is_none(store):
    text = (store.folder(3) / MANIFEST).read_text()
    with pytest.raises(WeightsError):
        parse(text[: text.index('"files"')] + '"files": {}}', "here")


def test_a_file_that_the_manifest_does_not_name_is_refused(store):
    (store.folder(3) / "evil.safetensors").write_bytes(b"x")
    for check in (store.verify, store.read):
        with pytest.raises(WeightsError, match=r"evil\.safetensors"):
            check(3)


def test_a_link_is_no_file_of_a_version(store, tmp_path):
    model = store.folder(3) / "model.safetensors"
    (tmp_path / "copy").write_bytes(model.read_bytes())
    model.unlink()
    model.symlink_to(tmp_path / "copy")
    for check in (store.verify, store.read):
        with pytest.raises(WeightsError, match=r"lacks model\.safetensors"):
            check(3)


def test_what_was_read_stays_what_was_hashed(store):
    _, contents = store.read(3)
    before = bytes(contents["model.safetensors"])
    with (store.folder(3) / "model.safetensors").open("r+b") as file:
        file.truncate(1)
    assert contents["model.safetensors"] == before
    with pytest.raises(WeightsError, match="corrupt"):
        store.read(3)


def test_a_number_beyond_nine_digits_is_no_version(store):
    folder = store.folder(9).with_name("9" * 30)
    folder.mkdir()
    (folder / MANIFEST).write_text((store.folder(9) / MANIFEST).read_text())
    assert store.versions()[-1] == 9
