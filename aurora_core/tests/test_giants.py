"""Pipes and files of any size where ours should be: read by none, waited for by none."""

import hashlib
import os

import pytest
from aurora_core.engine.settings import Desired
from aurora_core.errors import ConfigError, WeightsError
from aurora_core.protocol.trainer import STATUS_FILE, TrainerStatus
from aurora_core.training import holdout
from aurora_core.weights.manifest import FileEntry, Manifest
from aurora_core.weights.store import WeightsStore
from aurora_core.weights.verification import MANIFEST

from aurora_core import memory, regular


def put(path, kind):
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(8 << 40)


@pytest.fixture
def giant(tmp_path):
    """A version whose manifest is right about a sparse file of 4 TiB, but for its checksum that nobody can wait for."""
    store = WeightsStore(tmp_path / "weights")
    made = store.publish(lambda folder: (folder / "model").write_bytes(b"x"), target_fingerprint="t")
    size = 4 << 40
    files = {"model": FileEntry(bytes=size, sha256=hashlib.sha256(b"").hexdigest())}
    (store.folder(0) / MANIFEST).write_text(Manifest(**{**dict(made), "files": files}).sealed().text())
    with (store.folder(0) / "model").open("wb") as file:
        file.truncate(size)
    return store


def test_a_version_larger_than_its_volume_is_refused_unread(giant):
    with pytest.raises(WeightsError, match="and its volume"):
        giant.verify(0)


def test_a_version_larger_than_memory_is_refused_unread(giant):
    with pytest.raises(WeightsError, match="at most"):
        giant.read(0)


def test_no_file_is_read_that_is_larger_than_memory(tmp_path):
    put(tmp_path / "x", "giant")
    with pytest.raises(regular.TooLargeError):
        regular.read(tmp_path / "x", 1 << 50)
    assert 0 < memory.limit() < 1 << 45


@pytest.mark.parametrize("kind", ["pipe", "giant"])
def test_the_trainers_status_is_the_default_where_it_is_no_file_of_ours(tmp_path, kind):
    put(tmp_path / STATUS_FILE, kind)
    assert TrainerStatus.of(tmp_path / STATUS_FILE) == TrainerStatus()


@pytest.mark.parametrize("kind", ["pipe", "giant"])
def test_the_secret_of_the_holdout_is_made_again(tmp_path, kind):
    put(tmp_path / holdout.FILE, kind)
    assert len(made := holdout.salt(tmp_path)) == 32
    assert holdout.salt(tmp_path) == made


@pytest.mark.parametrize("kind", ["pipe", "giant"])
def test_an_engine_does_not_wait_for_what_it_should_serve(tmp_path, kind):
    (tmp_path / "steps").write_text("3")
    put(tmp_path / "version", kind)
    with pytest.raises(ConfigError, match="does not say what to serve"):
        Desired.read(tmp_path)
