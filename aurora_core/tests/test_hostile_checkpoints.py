"""Checkpoints of any content are read or refused; ``benchmarks/fuzz_checkpoints.py`` tries many more."""

import hostile_checkpoints
import hostile_files
import pytest

pytestmark = pytest.mark.filterwarnings("ignore")
ROUNDS = 120


def test_whatever_is_in_a_checkpoint_it_is_read_or_refused(tmp_path):
    good = hostile_checkpoints.target(tmp_path / "target")
    own, hostile = tmp_path / "draft", tmp_path / "hostile"
    hostile_checkpoints.draft(own, good)
    hostile.mkdir()
    of_draft, of_target = hostile_checkpoints.contents(own), hostile_checkpoints.contents(good.path)
    ends = set()
    for rng in hostile_files.rounds(ROUNDS):
        hostile_checkpoints.change(rng, of_draft, hostile)
        ends.add(hostile_checkpoints.read_draft(hostile, good))
        hostile_checkpoints.change(rng, of_target, hostile)
        ends.add(hostile_checkpoints.read_target(hostile))
    assert ends == {"drafts read", "drafts refused", "targets read", "targets refused"}
