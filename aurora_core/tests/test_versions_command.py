"""A wrong folder never reads as versions that are all well."""

import pytest
from aurora_core.config import DraftConfig
from aurora_core.training.init import ensure_first
from aurora_core.weights.store import WeightsStore
from command_line import run


@pytest.mark.parametrize("arguments", [("versions", "--work"), ("verify",)])
def test_a_folder_that_is_not_there_is_an_error(tmp_path, arguments):
    status, out, err = run(*arguments, tmp_path / "nothing")
    assert status == 1
    assert out == ""
    assert "nothing" in err


def test_nothing_that_was_verified_is_an_error_and_what_was_is_listed(tmp_path, target):
    status, out, err = run("verify", tmp_path)
    assert (status, out) == (1, "")
    assert "has no version, so nothing was verified" in err
    ensure_first(WeightsStore(tmp_path / "weights"), DraftConfig(draft_vocab_size=48), target, 0)
    status, out, _ = run("verify", tmp_path / "weights")
    assert (status, out.split(",")[0]) == (0, "000000 verified")
    status, out, _ = run("versions", "--work", tmp_path)
    assert (status, out.count("\n")) == (0, 1)


def test_a_store_without_a_version_yet_has_none_to_list(tmp_path):
    (tmp_path / "weights").mkdir()
    assert run("versions", "--work", tmp_path) == (0, "", "")
