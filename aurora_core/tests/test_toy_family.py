"""A second draft family goes all the way: a folder and a line, and nothing else of the core is touched."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.config.algorithms import FAMILIES, Registered
from aurora_core.config.parts import SamplesConfig, ServingConfig, TargetConfig, WeightsConfig
from aurora_core.drafts.registry import family, family_of
from aurora_core.engine import launch
from aurora_core.engine.settings import EngineSettings
from aurora_core.engine.swap import DraftSwap
from aurora_core.errors import ConfigError, WeightsError
from aurora_core.evaluation.accept import simulate
from aurora_core.training import start, state
from aurora_core.training.init import ensure_first, first_draft
from aurora_core.training.metrics import TrainingMetrics
from aurora_core.training.publisher import Publisher
from aurora_core.training.trainer import Trainer
from aurora_core.weights import checkpoint
from aurora_core.weights.loaded import read
from aurora_core.weights.manifest import Provenance
from aurora_core.weights.store import WeightsStore
from pydantic import ValidationError

import aurora_core

CPU = torch.device("cpu")
CORE = Path(aurora_core.__file__).parent
OWN = {one.module.rpartition(".")[2] for one in FAMILIES.values()}
OPERATOR = CORE.parents[2] / "operator/src"


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(FAMILIES, "TOY", Registered("toy_family", ("--toy-block",)))


@pytest.fixture
def draft_config():
    return DraftConfig(algorithm="TOY")


@pytest.fixture
def samples(make_sample):
    """Samples whose one layer shows the token after the next, which this family is to propose first."""
    made = (make_sample(str(i), seed=3 * i) for i in range(24))
    return [replace(sample, aux=sample.last.clone()) for sample in made]


@pytest.fixture
def trainer(draft_config, target):
    config = TrainingConfig(lr=3e-3, warmup_steps=1, ttt_length=3, precision="fp32")
    return Trainer.of(config, first_draft(draft_config, target, 0), target, CPU)


def test_it_is_trained_and_evaluated(trainer, samples):
    def accepted():
        return simulate(trainer.draft, trainer.teacher, samples[16:], steps=3).length

    before = accepted()
    results = [trainer.train_step([samples[:8], samples[8:16]]) for _ in range(60)]
    assert all(result.taken for result in results)
    assert results[-1].loss < results[0].loss
    assert accepted() > before + 0.5


def test_its_vocabulary_stays_the_target_s(trainer):
    assert trainer.set_vocabulary(torch.arange(10)) == 0


def test_versions_say_whose_they_are_and_are_read_as_such(trainer, draft_config, target, samples, tmp_path):
    store = WeightsStore(tmp_path / "weights")
    assert ensure_first(store, draft_config, target, 0).algorithm == "TOY"
    for _ in range(60):
        trainer.train_step([samples[:16]])
    metrics = TrainingMetrics(3)
    publisher = Publisher(store, draft_config, WeightsConfig(), target, metrics, 0, None)
    publisher.publish(trainer, samples[16:], Provenance())
    assert (publisher.published, publisher.withheld) == (1, 0)
    publisher.publish(trainer, samples[16:], Provenance())
    assert (publisher.published, publisher.withheld, store.versions()) == (1, 1, [0, 1])
    assert metrics.registry.get_sample_value("aurora_train_withheld_total") == 1
    assert store.manifest(1).algorithm == "TOY"
    manifest, contents = store.read(1)
    back = checkpoint.from_contents(contents, manifest.algorithm, "version 1")
    assert back.config == trainer.draft.config
    for name, tensor in trainer.draft.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor.bfloat16().float()), name
    with pytest.raises(WeightsError, match="does not describe a draft of EAGLE3"):
        checkpoint.from_contents(contents, "EAGLE3", "version 1")


def test_training_resumes(trainer, target, samples, tmp_path):
    trainer.train_step([samples[:8]])
    state.save(WeightsStore(tmp_path / "state"), trainer, {}, 0)
    resumed = start.resume(trainer.config, target, start.Paths(tmp_path / "weights", tmp_path / "state")).trainer
    assert resumed.step == 1
    again, expected = (one.train_step([samples[8:16]]) for one in (resumed, trainer))
    assert again == expected


def test_a_user_s_checkpoint_is_read_as_the_family_that_is_named(trainer, target, tmp_path):
    checkpoint.write(tmp_path, trainer.draft, torch.float32)
    back = first_draft(DraftConfig(algorithm="TOY", checkpoint=str(tmp_path)), target, 0)
    assert family_of(back) is family("TOY")
    with pytest.raises(WeightsError, match="does not describe a draft of EAGLE3"):
        first_draft(DraftConfig(checkpoint=str(tmp_path)), target, 0)


def test_the_engine_starts_with_its_arguments(draft_config, target, tmp_path):
    settings = EngineSettings(
        weights=tmp_path / "weights",
        spool=tmp_path / "spool",
        version=0,
        target=target.fingerprint,
        dtype="float32",
        initial_steps=0,
        samples=SamplesConfig(),
    )
    command = launch.speculative(
        target.path,
        TargetConfig(model=str(target.path)),
        ServingConfig(device="cpu"),
        draft_config,
        settings,
        tmp_path,
        tmp_path / "run",
        launch.Secrets("admin"),
    )
    at = command.arguments.index("--speculative-algorithm")
    assert command.arguments[at + 1] == "TOY"
    assert "--toy-block" in command.arguments
    assert not any("eagle" in argument or argument == "--speculative-adaptive" for argument in command.arguments)
    assert command.environment["TOY"] == "1"
    assert (tmp_path / "run/block.json").read_text() == str(draft_config.num_steps)


def test_a_version_is_prepared_for_a_swap_and_loaded_as_the_family_does(trainer, draft_config, target, tmp_path):
    store = WeightsStore(tmp_path)
    ensure_first(store, draft_config, target, 0)
    other = first_draft(draft_config, target, 1)
    eagle = first_draft(DraftConfig(), target, 1)
    for draft in (other, eagle):
        store.publish(
            lambda folder, draft=draft: checkpoint.write(folder, draft),
            target_fingerprint=target.fingerprint,
            algorithm=draft.algorithm,
        )
    swap = DraftSwap(store, read(store, 0, target.fingerprint), target.fingerprint)
    swap.prepare(1)
    swap._preparing.join()
    assert swap.is_prepared(1)
    running = trainer.draft
    swap.activate(1, running)
    assert swap.state.live == 1
    assert torch.equal(running.heads[0].weight, other.heads[0].weight.bfloat16().float())
    swap.prepare(2)
    swap._preparing.join()
    assert swap.state.failed == {2: "version 2 is a draft of EAGLE3, and this engine runs TOY"}

    def giant(folder):
        with (folder / "model.safetensors").open("wb") as file:
            file.truncate(64 << 20)

    store.publish(giant, target_fingerprint=target.fingerprint)
    swap.prepare(3)
    swap._preparing.join()
    assert "can have" in swap.state.failed[3]


def test_an_unknown_family_is_refused_by_name():
    with pytest.raises(ValidationError, match="no draft family 'MEDUSA' is known here; there are EAGLE3, DFLASH, TOY"):
        DraftConfig(algorithm="MEDUSA")
    with pytest.raises(ConfigError, match="no draft family 'MEDUSA'"):
        family("MEDUSA")


def test_no_family_is_named_outside_its_folder():
    """But in the registry, and where SGLang itself has an option of that name."""
    files = [
        path for root in (CORE, OPERATOR) for path in root.rglob("*.py") if not OWN & {*path.relative_to(root).parts}
    ]
    assert len(files) > 100
    named = {
        f"{path.name}: {found}"
        for path in files
        for found in re.findall(r"\w*(?:eagle|dflash)\w*", path.read_text(encoding="utf-8"), re.IGNORECASE)
    }
    options = {"plugin.py: speculative_eagle_topk", "arguments.py: eagle"}
    assert {name for name in named if not name.startswith("algorithms.py")} == options
