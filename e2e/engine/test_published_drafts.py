"""Drafts in the forms that others publish: the real engine proposes just what training says that they would."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from aurora_core.config import DraftConfig
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.drafts.family import Teacher
from aurora_core.drafts.registry import family_of
from aurora_core.evaluation.accept import simulate
from aurora_core.models.target import Target
from aurora_core.samples.batch import Batch
from aurora_core.training.init import first_draft
from aurora_core.weights import checkpoint
from aurora_core.weights.store import WeightsStore
from engine_support import ROOT
from families import VOCAB, make
from in_process import ANSWERS, STATE, TARGET, WEIGHTS
from machine import patience
from published import AFTER, BEFORE, DRAFT, DRAFTED, STEPS, samples_of

pytestmark = pytest.mark.filterwarnings("ignore")
FORMS = {
    "norms": {"norm_before_fc": True, "fc_norm": True, "norm_output": True},
    "head": {"shared_head": True, "draft_vocab_size": VOCAB},
    "layers": {"num_hidden_layers": 3, "norm_output": True},
}
WITHOUT = {"norm_before_fc": False, "fc_norm": False, "norm_output": False, "num_hidden_layers": 1}
"""Of a draft that has it: what it would be without."""
CPU = torch.device("cpu")


def shaped(draft, shape):
    """The same weights in a draft of another shape; what is new is random."""
    torch.manual_seed(1)
    made = Eagle3Draft(replace(draft.config, **shape))
    for weight in made.parameters():
        if weight.ndim == 1:
            torch.nn.init.normal_(weight, 1, 0.3)
    made.load_state_dict(draft.state_dict(), strict=False)
    return made


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A folder for each form, in which an engine wrote what it did."""
    root = tmp_path_factory.mktemp("published")
    for name, shape in FORMS.items():
        make("llama").save_pretrained(root / name / TARGET)
        (root / name / DRAFT).mkdir()
        first = first_draft(DraftConfig(draft_vocab_size=96), Target(root / name / TARGET), 0)
        checkpoint.write(root / name / DRAFT, shaped(first, shape), torch.float32)
    command = [sys.executable, ROOT / "e2e" / "engine" / "serve.py", *(root / name for name in FORMS)]
    subprocess.run(
        command, check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, timeout=patience(500)
    )
    return root


@torch.no_grad()
def proposed(draft, target, sample, steps=STEPS):
    """Proposals of each row, int64 [rows, steps]."""
    teacher = Teacher.of(target, draft, torch.float32, CPU)
    batch = Batch.of([sample], torch.float32)
    return torch.stack([one[0, :, 0] for one in family_of(draft).proposals(draft, teacher, batch, steps)], 1)


def agreed(draft, target, samples, cycles):
    """Decided proposals that engine and training have alike, and how many there are.

    A cycle starts where the one before ended; its proposals are decided up to the first that is wrong.
    """
    same = decided = 0
    for request, sample in samples.items():
        ours, tokens, row = proposed(draft, target, sample), sample.tokens.tolist(), sample.prompt_tokens - 1
        for theirs in cycles[request]:
            if row + 2 >= len(tokens):
                break
            accepted = 0
            for step, token in enumerate(theirs):
                if row + step + 2 >= len(tokens):
                    break
                same, decided = same + (int(ours[row, step]) == token), decided + 1
                if token != tokens[row + step + 2]:
                    break
                accepted += 1
            row += accepted + 1
    return same, decided


@pytest.mark.parametrize("name", FORMS)
def test_the_engine_proposes_what_training_computes_before_and_after_a_swap(served, name):
    folder = served / name
    assert (folder / STATE).exists(), (folder / "log.txt").read_text()[-3000:]
    state, answers, cycles = (json.loads((folder / file).read_text()) for file in (STATE, ANSWERS, DRAFTED))
    assert state["errors"] == state["capture"]["mismatches"] == state["capture"]["dropped"] == {}
    assert (state["draft"]["live"], state["draft"]["swaps"]) == (1, 1)
    target, store = Target(folder / TARGET), WeightsStore(folder / WEIGHTS)
    arms = {arm["version"]: arm for arm in state["arms"] if arm["accept_cycles"]}
    lengths = {}
    for version, start in enumerate((BEFORE, AFTER)):
        draft = checkpoint.read(store.folder(version), "EAGLE3")
        samples = {rid: one for rid, one in samples_of(folder, 3).items() if rid.startswith(start)}
        assert samples.keys() == {rid for rid in answers if rid.startswith(start)}
        same, decided = agreed(draft, target, samples, cycles)
        assert same == decided > 100, (start, same, decided)
        accepted = simulate(draft, Teacher.of(target, draft, torch.float32, CPU), list(samples.values()), steps=STEPS)
        assert sum(found for _, found in accepted.per_request) == arms[version]["accept_cycles"]
        lengths[start] = accepted.length
    # Of the trained draft later steps are decided too, so that it shows what a step is fed with.
    for part in FORMS[name].keys() & WITHOUT.keys():
        assert agreed(shaped(draft, {part: WITHOUT[part]}), target, samples, cycles)[0] < decided, part
    print(f"{name}: accept length {lengths[BEFORE]:.2f}, trained {lengths[AFTER]:.2f}")
    assert lengths[AFTER] > lengths[BEFORE] + 0.3
