"""Several ranks train one draft as one rank would; what ends one of them ends all, and a rerun resumes."""

import json
import os
import signal

import command_line
import parallel_support as support
import pytest
import torch
import yaml
from aurora_core.errors import ConfigError
from aurora_core.samples.schema import encode
from aurora_core.samples.spool import SpoolSink
from aurora_core.training import group
from aurora_core.training.group import packed_share, rank_of, unpacked_share
from aurora_core.training.parallel import shares
from aurora_core.waiting import wait
from aurora_core.weights.store import WeightsStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

STEPS = 12


@pytest.fixture
def samples(make_sample):
    """Of many lengths and prompts, so that rows weigh the same only where they are counted."""
    return [make_sample(f"r{i:02}", length=12 + 5 * (i % 7), prompt=3 + i % 5, seed=i) for i in range(24)]


@pytest.fixture
def make_work(tmp_path, target, samples):
    def make(name):
        work = tmp_path / name
        work.mkdir()
        sink = SpoolSink(work / "spool", 1 << 30)
        for sample in samples:
            sink.put(sample.request, encode(sample))
        support.prepare(work, target)
        return work

    return make


def losses(work):
    return [loss for _, loss in map(json.loads, (work / "losses.jsonl").read_text().splitlines())]


def weights(work, rank=0):
    return load_file(work / f"rank{rank}.safetensors")


def status(work):
    try:
        return json.loads((work / "training" / "status.json").read_text())
    except OSError:
        return {"step": -1}


def wait_for_step(work, step):
    wait(f"step {step}", lambda: status(work)["step"] >= step, 90, every=0.02)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(2, 40), max_size=6), max_size=4), st.integers(1, 5))
def test_no_share_loses_a_sample_or_has_it_twice(make_sample, lengths, ranks):
    micro = [[make_sample(f"{m}.{s}", length=n, prompt=1) for s, n in enumerate(one)] for m, one in enumerate(lengths)]
    dealt = shares(micro, ranks)
    assert len(dealt) == ranks
    everything = [sample.request for share in dealt for part in share for sample in part]
    assert sorted(everything) == sorted(sample.request for one in micro for sample in one)
    assert all(0 < len(part) <= max(map(len, micro)) for share in dealt for part in share)
    rows = [sum(sample.aux.shape[0] for part in share for sample in part) for share in dealt]
    assert max(rows) - min(rows) <= max((n for one in lengths for n in one), default=0)


def test_a_share_arrives_as_it_was_sent(samples):
    share = [samples[:2], samples[1:2]]
    received = unpacked_share(packed_share(share))
    assert [len(micro) for micro in received] == [2, 1]
    for ours, theirs in zip(share[0] + share[1], received[0] + received[1], strict=True):
        assert (ours.prompt_tokens, ours.roots) == (theirs.prompt_tokens, theirs.roots)
        assert all(torch.equal(getattr(ours, name), getattr(theirs, name)) for name in ("tokens", "aux", "last"))


@pytest.mark.parametrize("environment", [{"WORLD_SIZE": "2", "RANK": "1"}, {"WORLD_SIZE": "two"}, {"WORLD_SIZE": "0"}])
def test_half_a_launcher_is_refused(environment):
    with pytest.raises(ConfigError, match="torchrun"):
        rank_of(environment)
    assert rank_of({}) == rank_of({"WORLD_SIZE": "1"}) == 0


def test_the_error_that_ends_a_rank_is_left_where_the_launcher_s_own_lines_do_not_hide_it(
    make_work, command, tmp_path, monkeypatch
):
    last = tmp_path / "last"
    monkeypatch.setenv("AURORA_LAST_MESSAGE", str(last))
    monkeypatch.setenv("WORLD_SIZE", "2")
    status, _, errors = command_line.run(*command(make_work("half")))
    assert (status, errors) == (1, last.read_text())
    assert "start the trainer with torchrun" in errors
    # A second rank of the same pod adds its own.
    command_line.run(*command(tmp_path / "half"))
    assert last.read_text() == 2 * errors


@pytest.mark.parametrize("kind", [("train",), ("train-offline", "--spool", "unread")], ids=["train", "train-offline"])
def test_a_rank_that_is_not_the_first_joins_the_others(kind, command, tmp_path, monkeypatch):
    def join(environment):
        raise ConfigError(f"rank {environment['RANK']} joins")

    monkeypatch.setattr(group, "join", join)
    launcher = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in launcher.items():
        monkeypatch.setenv(name, value)
    _, *arguments = command(tmp_path / "work")
    status, _, errors = command_line.run(*kind, *arguments)
    assert (status, errors) == (1, "aurora-core: rank 1 joins\n")


@pytest.fixture(scope="module")
def alone():
    """Losses and weights of one rank, once for all tests of the module."""
    return {}


def straight(make_work, target, alone):
    if not alone:
        work = make_work("alone")
        assert support.ended(support.launch(1, support.train, work, target.path, {"num_train_steps": STEPS})) == [0]
        alone.update(losses=losses(work), weights=weights(work), status=status(work))
    return alone


@pytest.mark.parametrize("ranks", [(2,), (2, 1), (1, 2)], ids=["2", "2 then 1", "1 then 2"])
def test_the_loss_curve_is_that_of_one_rank_also_where_their_number_changes(make_work, target, alone, ranks):
    expected, work = straight(make_work, target, alone), make_work("several")
    for at, size in enumerate(ranks, 1):
        changes = {"num_train_steps": STEPS * at // len(ranks)}
        assert support.ended(support.launch(size, support.train, work, target.path, changes)) == [0] * size
        assert status(work)["ranks"] == size
    assert losses(work) == pytest.approx(expected["losses"], rel=1e-4)
    assert status(work) == expected["status"] | {"loss": pytest.approx(expected["losses"][-1], rel=1e-4),
                                                 "ranks": ranks[-1]}  # fmt: skip
    for name, tensor in weights(work).items():
        torch.testing.assert_close(tensor, expected["weights"][name], rtol=1e-3, atol=1e-4)
        if ranks[-1] > 1:
            assert torch.equal(tensor, weights(work, 1)[name]), name


def test_a_gradient_that_is_not_finite_on_one_rank_is_passed_over_by_all(make_work, target, samples):
    work = make_work("poisoned")
    longest = sorted(samples, key=lambda one: -one.aux.shape[0])
    assert support.ended(support.launch(2, support.poisoned, work, target.path, longest[:4])) == [0, 0]
    assert json.loads((work / "taken.json").read_text()) == [True, False, True, True]
    for name, tensor in weights(work).items():
        assert bool(tensor.isfinite().all())
        assert torch.equal(tensor, weights(work, 1)[name]), name


@pytest.mark.parametrize("dies", [0, 1])
def test_a_rank_that_dies_ends_the_other_and_a_rerun_resumes(make_work, target, dies):
    work = make_work("killed")
    ranks = support.launch(2, support.train, work, target.path, {}, (dies, 7))
    ranks[dies].join(60)
    # Long before the ten minutes that a rank waits for one that is there.
    codes = support.ended(ranks, 60)
    assert codes == [-signal.SIGKILL if rank == dies else support.LOST for rank in (0, 1)]
    assert support.ended(support.launch(2, support.train, work, target.path, {"num_train_steps": 8})) == [0, 0]
    steps = [step for step, _ in map(json.loads, (work / "losses.jsonl").read_text().splitlines())]
    assert steps[-3:] == [6, 7, 8]


@pytest.fixture
def command(target, tmp_path):
    """Arguments of ``aurora-core train``, endless."""

    def arguments(work):
        training = support.config().model_dump(mode="json", exclude_none=True)
        raw = {"target": {"model": str(target.path)}, "training": training, "samples": {"dtype": "float32"}}
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(raw))
        return ["train", "--config", str(path), "--work", str(work)]

    return arguments


def test_sigterm_at_any_rank_ends_all_with_the_state_saved(make_work, command):
    work = make_work("stopped")
    ranks = support.launch(2, support.command, command(work))
    wait_for_step(work, 3)
    os.kill(ranks[1].pid, signal.SIGTERM)
    assert support.ended(ranks) == [128 + signal.SIGTERM] * 2
    states = WeightsStore(work / "training")
    assert states.verify(states.versions()[-1]).step == status(work)["step"]
