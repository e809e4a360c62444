"""What a draft is, and whether it fits: shown of good ones, and of any other without a traceback."""

import contextlib
import json
import os
import shutil

import pytest
import torch
from aurora_core.config import DraftConfig
from aurora_core.errors import ConfigError
from aurora_core.models.target import Target
from aurora_core.training.init import ensure_first, first_draft
from aurora_core.weights import checkpoint
from aurora_core.weights.inspection import inspect
from aurora_core.weights.store import WeightsStore
from command_line import run
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="session")
def good(target, tmp_path_factory):
    folder = tmp_path_factory.mktemp("draft")
    checkpoint.write(folder, first_draft(DraftConfig(draft_vocab_size=40), target, 0))
    return folder


@pytest.fixture
def draft(good, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(good, tmp_path / "draft")


def configure(folder, **changes):
    raw = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({key: value for key, value in raw.items() if value is not ...}))


def test_a_draft_that_fits_is_described(draft, target):
    status, out, _ = run("inspect", draft, "--target", target.path)
    assert status == 0
    assert "EAGLE3, layout sglang" in out
    assert "1; fed by 2, 3, 4 of the target's" in out
    assert "40 of 64 tokens" in out
    assert "bfloat16, bool, int64" in out
    assert f"fits {target.path}" in out


def test_programs_get_the_same_as_json(draft):
    status, out, _ = run("inspect", draft, "-o", "json")
    found = json.loads(out)
    assert status == 0
    assert found["files"]["model.safetensors"] == (draft / "model.safetensors").stat().st_size
    assert found["config"]["intermediate_size"] == 64
    assert found["aux_layers"] == [2, 3, 4]
    assert found["manifest"] is None


def test_a_version_of_a_store_shows_what_made_it_and_that_it_is_intact(tmp_path, target):
    store = WeightsStore(tmp_path)
    ensure_first(store, DraftConfig(draft_vocab_size=40), target, 0)
    status, out, _ = run("inspect", store.folder(0), "--target", target.path)
    assert status == 0
    assert "0, no parent, 20" in out
    with (store.folder(0) / "config.json").open("a") as file:
        file.write(" ")
    status, out, _ = run("inspect", store.folder(0), "--target", target.path)
    assert status == 1
    assert "version 0 is corrupt: config.json differs from its manifest" in out


def test_a_version_of_another_target_does_not_fit(tmp_path, target):
    other = shutil.copytree(target.path, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, other / "model.safetensors")
    store = WeightsStore(tmp_path / "weights")
    ensure_first(store, DraftConfig(draft_vocab_size=40), Target(other), 0)
    status, out, _ = run("inspect", store.folder(0), "--target", target.path)
    assert status == 1
    assert "version 0 was trained for target" in out


def test_every_misfit_is_named_and_is_why_loading_refuses(draft, target):
    names = {"eagle_config": {"eagle_aux_hidden_state_layer_ids": [1, 2, 9]}}
    configure(draft, vocab_size=65, **names)
    problems = inspect(draft, target).problems
    assert "vocab_size of its target is 65, and this target's is 64" in problems[0]
    assert "it cannot be fed by layers 1, 2, 9" in problems[1]
    assert "t2d" in problems[2]
    with pytest.raises(checkpoint.WeightsError, match=r"vocab_size of its target is 65.*fed by layers 1, 2, 9"):
        first_draft(DraftConfig(checkpoint=str(draft)), target, 0)


def test_a_draft_without_names_of_layers_is_read_with_and_without_a_target(draft, target):
    configure(draft, eagle_config=...)
    assert run("inspect", draft)[0] == 0
    status, out, _ = run("inspect", draft, "--target", target.path)
    assert status == 0
    assert "names none of the target's" in out


def test_a_draft_that_names_its_layers_asks_no_small_target_for_its_own(draft, target, tmp_path):
    small = shutil.copytree(target.path, tmp_path / "small")
    configure(small, num_hidden_layers=3)
    tensors = load_file(draft / "model.safetensors")
    tensors["fc.weight"] = tensors["fc.weight"][:, :64].contiguous()
    save_file(tensors, draft / "model.safetensors")
    configure(draft, eagle_config={"eagle_aux_hidden_state_layer_ids": [0, 1]})
    assert first_draft(DraftConfig(checkpoint=str(draft)), Target(small), 0).config.aux_layers == (0, 1)
    assert run("inspect", draft, "--target", small)[0] == 0


def _pipe(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)


def _loop(folder, name):
    (folder / name).unlink()
    (folder / name).symlink_to(folder / name)


def _write(folder, name, content):
    (folder / name).write_bytes(content)


HOSTILE = {
    "no model": lambda f: (f / "model.safetensors").unlink(),
    "no configuration": lambda f: (f / "config.json").unlink(),
    "a pipe as a model": lambda f: _pipe(f, "model.safetensors"),
    "a pipe as a configuration": lambda f: _pipe(f, "config.json"),
    "a link to itself": lambda f: _loop(f, "config.json"),
    "a shard that is a link to itself": lambda f: (
        (f / "model.safetensors").unlink(),
        (f / "model-1.safetensors").symlink_to(f / "model-1.safetensors"),
    ),
    "a pickle": lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
    "a header of many exabytes": lambda f: _write(f, "model.safetensors", b"\xff" * 8 + b"{}"),
    "a model of nothing": lambda f: _write(f, "model.safetensors", b""),
    "a configuration that is no JSON": lambda f: _write(f, "config.json", b"\xff\xfe{"),
    "a configuration that is nested deep": lambda f: _write(f, "config.json", b"[" * 200_000),
    "a giant of a configuration": lambda f: _write(f, "config.json", b" " * (2 << 20)),
    "a width that is too large for any memory": lambda f: configure(f, hidden_size=2**31 - 1),
    "heads that are too large for any memory": lambda f: configure(f, num_attention_heads=2**30, head_dim=2**30),
    "an MLP that is too large for any memory": lambda f: configure(f, intermediate_size=2**31 - 1),
    "numbers of rope that are none": lambda f: configure(f, rope_parameters={"rope_type": "yarn", "factor": "x"}),
    "integers as weights": lambda f: save_file(
        {name: tensor.to(torch.int8) for name, tensor in load_file(f / "model.safetensors").items()},
        f / "model.safetensors",
    ),
    "a manifest that is none": lambda f: _write(f, "manifest.json", b"{}"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_whatever_lies_there_is_an_answer_and_no_traceback(draft, target, what):
    HOSTILE[what](draft)
    for more in ((), ("--target", target.path)):
        status, out, err = run("inspect", draft, *more)
        assert status == 1
        assert "problem     " in out, err


@pytest.mark.parametrize("where", ["missing", "draft/config.json"])
def test_what_is_no_folder_is_an_error(draft, where):
    status, _, err = run("inspect", draft.parent / where)
    assert status == 1
    assert "cannot be read as the folder of a draft" in err


def test_names_of_others_do_nothing_to_a_terminal(draft):
    tensors = load_file(draft / "model.safetensors") | {"\x1b[2Jgone": torch.zeros(1)}
    save_file(tensors, draft / "model.safetensors")
    (draft / "\x1b]0;x\x07").write_text("")
    status, out, _ = run("inspect", draft)
    assert status == 1
    assert "\x1b" not in out
    assert "\\x1b[2Jgone" in out


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_cut_and_no_flipped_byte_ends_with_a_traceback(good, tmp_path_factory, data):
    folder = shutil.copytree(good, tmp_path_factory.mktemp("damaged") / "draft")
    name = data.draw(st.sampled_from(["config.json", "model.safetensors"]))
    content = bytearray((folder / name).read_bytes())
    at = data.draw(st.integers(0, min(len(content), 2000) - 1))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    (folder / name).write_bytes(content)
    assert inspect(folder).path == str(folder)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_cut_or_changed_target_is_an_error_that_says_so(target, tmp_path_factory, data):
    folder = shutil.copytree(target.path, tmp_path_factory.mktemp("damaged") / "target")
    name = data.draw(st.sampled_from(["config.json", "model.safetensors"]))
    content = bytearray((folder / name).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    (folder / name).write_bytes(content)
    damaged = Target(folder)
    for read in (
        lambda: damaged.fingerprint,
        lambda: damaged.embedding,
        lambda: (damaged.vocab_size, damaged.hidden_size, damaged.num_layers),
    ):
        with contextlib.suppress(ConfigError):
            read()


def test_a_cut_target_is_named(target, tmp_path):
    folder = shutil.copytree(target.path, tmp_path / "target")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match=r"model\.safetensors cannot be read, it is damaged or cut"):
        _ = Target(folder).embedding
    (folder / "model.safetensors").write_bytes(content[:6])
    with pytest.raises(ConfigError, match="damaged or cut"):
        _ = Target(folder).fingerprint
