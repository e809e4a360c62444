"""A draft of others becomes the next version of a store, or is refused and leaves it as it was."""

import json
import re
import shutil

import pytest
import torch
from aurora_core.config import DraftConfig
from aurora_core.errors import LeaseLostError, WeightsError
from aurora_core.models.target import Target
from aurora_core.training import imported
from aurora_core.training.init import ensure_first, first_draft
from aurora_core.weights import checkpoint
from aurora_core.weights.lease import WriterLease
from aurora_core.weights.loaded import read
from aurora_core.weights.signing import Signing
from aurora_core.weights.store import WeightsStore
from command_line import run
from safetensors.torch import load_file, save_file

DRAFT = DraftConfig(draft_vocab_size=40)


@pytest.fixture
def work(tmp_path, target):
    ensure_first(WeightsStore(tmp_path / "work/weights"), DRAFT, target, 0)
    (tmp_path / "config.json").write_text(
        json.dumps({"target": {"model": str(target.path)}, "draft": {"draftVocabSize": 40}})
    )
    return tmp_path / "work"


@pytest.fixture
def foreign(tmp_path, target):
    """As its authors published it: other names, other vocabulary, fp32, no layers named."""
    draft = first_draft(DRAFT, target, 7)
    draft.set_vocabulary(torch.arange(0, 64)[-40:])
    folder = tmp_path / "foreign"
    folder.mkdir()
    checkpoint.write(folder, draft, torch.float32)
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | {"eagle_config": None}))
    tensors = load_file(folder / "model.safetensors")
    renamed = {f"model.{name.replace('midlayer.', 'layers.0.')}": tensor for name, tensor in tensors.items()}
    save_file(renamed, folder / "model.safetensors")
    return folder


def imports(work, foreign):
    return run("import", foreign, "--work", work, "--config", work.parent / "config.json")


def test_a_draft_of_others_is_the_next_version_as_a_trained_one_is(work, foreign, target):
    status, out, err = imports(work, foreign)
    assert (status, err) == (0, "")
    store = WeightsStore(work / "weights")
    manifest = store.verify(1)
    assert json.loads(out) == manifest.model_dump(mode="json")
    assert (manifest.parent, manifest.step, manifest.target_fingerprint) == (None, 0, target.fingerprint)
    first, second = (read(store, version, target.fingerprint) for version in (0, 1))
    second.check(first, "version 1")
    assert set(second.tensors) == set(first.tensors)
    assert not torch.equal(second.tensors["d2t"], first.tensors["d2t"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 65}, "vocab_size of its target is 65"),
        ({"rms_norm_eps": 1e-6}, "differs in rms_norm_eps.*compared with version 0"),
        ({"norm_output": True}, "norm_output"),
    ],
)
def test_what_engines_could_not_serve_is_refused_and_leaves_nothing(work, foreign, changes, message):
    raw = json.loads((foreign / "config.json").read_text())
    (foreign / "config.json").write_text(json.dumps(raw | changes))
    status, out, err = imports(work, foreign)
    assert (status, out) == (1, "")
    assert re.search(message, err)
    assert WeightsStore(work / "weights").versions() == [0]
    assert not any((work / "weights/staging").iterdir())


def test_a_store_without_a_version_of_this_target_takes_none(tmp_path, foreign, target):
    store = WeightsStore(tmp_path / "empty")
    with pytest.raises(WeightsError, match=r"there is none.*aurora-core init"):
        imported.publish(store, foreign, DRAFT, target)
    other = shutil.copytree(target.path, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    save_file({name: tensor * 2 for name, tensor in tensors.items()}, other / "model.safetensors")
    ensure_first(store, DRAFT, Target(other), 0)
    with pytest.raises(WeightsError, match="version 0 was trained for target"):
        imported.publish(store, foreign, DRAFT, target)


def test_nothing_is_published_once_another_writer_has_the_volume(work, foreign, target):
    with WriterLease(work / "training") as lease:
        (work / "training/writer-99999999.json").write_text("{}")
        with pytest.raises(LeaseLostError):
            imported.publish(WeightsStore(work / "weights", lease), foreign, DRAFT, target)
    assert WeightsStore(work / "weights").versions() == [0]


def test_where_versions_are_signed_the_imported_one_is(tmp_path, foreign, target):
    store = WeightsStore(tmp_path / "weights", signing=Signing(("k" * 32,)))
    ensure_first(store, DRAFT, target, 0)
    assert imported.publish(store, foreign, DRAFT, target).signature
    with pytest.raises(WeightsError, match="is not signed by a key"):
        WeightsStore(tmp_path / "weights", signing=Signing(("x" * 32,))).verify(1)
