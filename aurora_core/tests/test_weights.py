import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from aurora_core.config import DraftConfig
from aurora_core.drafts.eagle3 import layers
from aurora_core.drafts.eagle3.config import Eagle3Config
from aurora_core.errors import ConfigError, WeightsError
from aurora_core.models.source import fetched
from aurora_core.protocol.agent import Volume
from aurora_core.training.init import ensure_first, first_draft
from aurora_core.weights import checkpoint, volume
from aurora_core.weights.manifest import Manifest
from aurora_core.weights.store import WeightsStore
from safetensors.torch import load_file, save_file


def some_file(text="weights"):
    return lambda folder: (folder / "model.safetensors").write_text(text) and None


@pytest.fixture
def store(tmp_path):
    return WeightsStore(tmp_path)


def test_versions_count_up_and_verify(store):
    for _ in range(3):
        store.publish(some_file(), target_fingerprint="t")
    assert store.versions() == [0, 1, 2]
    assert store.verify(1).files.keys() == {"model.safetensors"}


@pytest.mark.parametrize("damage", ["change", "cut", "remove", "link", "manifest"])
def test_damage_of_any_kind_is_noticed(store, damage):
    store.publish(some_file(), target_fingerprint="t")
    path = store.folder(0) / "model.safetensors"
    match damage:
        case "change":
            path.write_text("weightz")
        case "cut":
            path.write_text("weight")
        case "remove":
            path.unlink()
        case "link":
            path.rename(path.with_name("other"))
            path.symlink_to("other")
        case "manifest":
            (store.folder(0) / "manifest.json").write_text("{}")
    with pytest.raises(WeightsError):
        store.verify(0)
    with pytest.raises(WeightsError):
        store.read(0)


def test_a_version_with_the_manifest_of_another_is_damaged(store):
    store.publish(some_file(), target_fingerprint="t")
    shutil.copytree(store.folder(0), store.folder(1))
    with pytest.raises(WeightsError, match=r"manifest.json is the manifest of version 0$"):
        store.manifest(1)


def test_what_a_killed_publisher_left_goes_once_nobody_can_be_writing_it(store):
    store.publish(some_file(), target_fingerprint="t")
    [staging] = [folder for folder in store.root.rglob("*staging*") if folder.is_dir()]
    for name, age in (("old", 86400), ("young", 10)):
        (staging / name).mkdir()
        os.utime(staging / name, times=(time.time() - age,) * 2)
    store.publish(some_file(), target_fingerprint="t")
    assert [entry.name for entry in staging.iterdir()] == ["young"]


def test_a_manifest_cannot_point_outside_its_folder(store):
    store.publish(some_file(), target_fingerprint="t")
    path = store.folder(0) / "manifest.json"
    raw = json.loads(path.read_text())
    raw["files"]["../../secret"] = raw["files"]["model.safetensors"]
    path.write_text(json.dumps(raw))
    with pytest.raises(WeightsError, match="differs from its checksum"):
        store.verify(0)
    path.write_text(Manifest.model_validate(raw).sealed().model_dump_json())
    with pytest.raises(WeightsError, match="lacks"):
        store.verify(0)


def test_a_full_disk_publishes_nothing(store, no_room):
    store.publish(some_file(), target_fingerprint="t")
    for write in (some_file(), lambda folder: save_file({"x": torch.zeros(9)}, folder / "model.safetensors")):
        with no_room(), pytest.raises(WeightsError, match="File too large"):
            store.publish(write, target_fingerprint="t")
    assert store.versions() == [0]
    assert store.publish(some_file(), target_fingerprint="t").version == 1


def test_a_volume_reports_how_full_it_is_and_when_it_is_lost(tmp_path):
    found = volume.measure(tmp_path)
    assert 0 < found.free < found.total
    with pytest.raises(WeightsError, match="No such file"):
        volume.measure(tmp_path / "lost")


def test_nobody_waits_for_a_volume_that_hangs(tmp_path):
    back, reads = threading.Event(), []

    def hangs(root):
        reads.append(root)
        back.wait()
        return Volume(free=1, total=2)

    probe = volume.Probe(tmp_path, patience=0.05, read=hangs)
    for _ in range(3):
        with pytest.raises(WeightsError, match="has not answered for"):
            probe.measure()
    assert reads == [tmp_path]
    back.set()
    assert volume.Probe(tmp_path, read=hangs).measure() == Volume(free=1, total=2)
    assert probe.measure() == Volume(free=1, total=2)


def test_retirement_spares_what_is_in_use(store):
    for _ in range(8):
        store.publish(some_file(), target_fingerprint="t")
    assert store.prune(2, [1, 3]) == [2, 4, 5]
    assert store.versions() == [0, 1, 3, 6, 7]


WRITER = """
import sys
import threading
from pathlib import Path
from aurora_core.weights.store import WeightsStore
store = WeightsStore(Path(sys.argv[1]))
while True:
    manifest = store.publish(lambda f: (f / "model.safetensors").write_bytes(b"x" * 3_000_000) and None,
                             target_fingerprint="t")
    print(manifest.version, flush=True)
    store.prune(5, ())
"""


def test_a_writer_killed_at_any_moment_leaves_only_complete_versions(tmp_path):
    rng = random.Random(0)
    announced = -1
    for _ in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        announced = int(writer.stdout.readline())
        time.sleep(rng.uniform(0, 0.05))
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
        announced = int(rest[-1]) if rest else announced
        writer.wait()
        writer.stdout.close()
        store = WeightsStore(tmp_path)
        versions = store.versions()
        assert versions[-1] >= announced
        for version in versions:
            store.verify(version)


def test_a_draft_survives_the_checkpoint(tmp_path, target):
    draft = first_draft(DraftConfig(draft_vocab_size=40), target, seed=3)
    checkpoint.write(tmp_path, draft, torch.float32)
    back = checkpoint.read(tmp_path, "EAGLE3")
    assert back.config == draft.config
    for name, tensor in draft.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_a_draft_for_another_target_is_refused(tmp_path, target):
    draft = first_draft(DraftConfig(draft_vocab_size=40), target, seed=3)
    checkpoint.write(tmp_path, draft)
    raw = json.loads((tmp_path / "config.json").read_text())
    raw["vocab_size"] = 65
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(WeightsError):
        first_draft(DraftConfig(checkpoint=str(tmp_path)), target, 0)


def published(folder, target):
    """A draft as its authors publish it: no layers named, and in several files."""
    draft = first_draft(DraftConfig(draft_vocab_size=40, aux_layers=layers.default(target)), target, seed=3)
    checkpoint.write(folder, draft, torch.float32)
    raw = json.loads((folder / "config.json").read_text())
    del raw["eagle_config"]
    (folder / "config.json").write_text(json.dumps(raw))
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    for i, name in enumerate(sorted(tensors)):
        save_file({name: tensors[name]}, folder / f"model-{i % 2}-{i}.safetensors")
    return draft


def test_a_published_draft_that_names_no_layers_is_fed_by_those_that_sglang_gives_it(tmp_path, target):
    draft = published(tmp_path, target)
    back = first_draft(DraftConfig(checkpoint=str(tmp_path)), target, 0)
    assert back.config == draft.config
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in draft.state_dict().items())


def test_a_draft_that_names_other_layers_than_the_configuration_is_refused(tmp_path, target):
    checkpoint.write(tmp_path, first_draft(DraftConfig(draft_vocab_size=40), target, seed=3))
    with pytest.raises(WeightsError, match=r"fed by layers \(2, 3, 4\), not \(1, 2, 3\)"):
        first_draft(DraftConfig(checkpoint=str(tmp_path), aux_layers=(1, 2, 3)), target, 0)


def test_a_pickled_draft_is_refused(tmp_path, target):
    published(tmp_path, target)
    for shard in tmp_path.glob("*.safetensors"):
        shard.rename(shard.with_suffix(".bin"))
    with pytest.raises(WeightsError, match="only safetensors"):
        first_draft(DraftConfig(checkpoint=str(tmp_path)), target, 0)


def test_a_draft_comes_from_the_hub_or_says_why_not(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    snapshot = tmp_path / "hub" / "models--org--draft" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (tmp_path / "hub" / "models--org--draft" / "refs").mkdir()
    (tmp_path / "hub" / "models--org--draft" / "refs" / "main").write_text("abc")
    assert fetched(DraftConfig(checkpoint="org/draft"), tmp_path).checkpoint == str(snapshot)
    assert fetched(DraftConfig(), tmp_path).checkpoint is None
    with pytest.raises(ConfigError, match="the draft org/other is not a directory and could not be downloaded"):
        fetched(DraftConfig(checkpoint="org/other"), tmp_path)
    with pytest.raises(ConfigError, match="is its volume mounted"):
        fetched(DraftConfig(checkpoint="/model/draft"), tmp_path)


def test_another_architecture_is_refused():
    with pytest.raises(ConfigError, match="LlamaForCausalLMEagle3"):
        Eagle3Config.from_hf({"architectures": ["LlamaForCausalLM"]})


def test_the_first_version_is_published_once(tmp_path, target):
    store = WeightsStore(tmp_path)
    assert ensure_first(store, DraftConfig(draft_vocab_size=40), target, 0).version == 0
    assert ensure_first(store, DraftConfig(draft_vocab_size=40), target, 0).version == 0
    assert store.versions() == [0]


def test_files_that_cannot_be_read_are_an_error_and_not_a_crash(tmp_path, monkeypatch):
    store = WeightsStore(tmp_path)
    version = store.publish(lambda folder: (folder / "model").write_bytes(b"x"), target_fingerprint="t").version
    assert (store.folder(version) / "model").stat().st_mode & 0o777 == 0o644

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("aurora_core.weights.verification.sha256", refuse)
    with pytest.raises(WeightsError, match="cannot be read: model: Permission denied"):
        store.verify(version)
