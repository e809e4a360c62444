import copy
import json
import math
from dataclasses import replace

import pytest
import torch
from aurora_core.config import DraftConfig, SamplesConfig, TrainingConfig, WeightsConfig
from aurora_core.drafts.eagle3 import supervision
from aurora_core.errors import TrainingError
from aurora_core.evaluation.accept import simulate
from aurora_core.samples.schema import encode
from aurora_core.samples.spool import SpoolSink, SpoolSource
from aurora_core.training import holdout, state
from aurora_core.training.init import ensure_first, first_draft
from aurora_core.training.metrics import TrainingMetrics
from aurora_core.training.run import TrainingRun
from aurora_core.training.start import Paths, resume
from aurora_core.training.trainer import Trainer
from aurora_core.weights.store import WeightsStore

CPU = torch.device("cpu")


def config(**changes):
    base = {"lr": 3e-3, "ttt_length": 3, "micro_batch": 4, "precision": "fp32", "warmup_steps": 3, "max_grad_norm": 1.0}
    return TrainingConfig(**{**base, **changes})


def make_trainer(target, **changes):
    return Trainer.of(config(**changes), first_draft(DraftConfig(draft_vocab_size=48), target, 0), target, CPU)


@pytest.fixture
def samples(make_sample):
    return [make_sample(f"r{i}", seed=i) for i in range(24)]


def test_training_raises_the_accept_length(target, samples):
    trainer = make_trainer(target)
    trainer.set_vocabulary(torch.arange(8, 56))

    def length():
        return simulate(trainer.draft, trainer.teacher, samples[20:], steps=3).length

    before = length()
    first = trainer.train_step([samples[:4]])
    for i in range(60):
        result = trainer.train_step([samples[4 * (i % 5) : 4 * (i % 5) + 4]])
    assert result.loss < first.loss / 2
    assert length() > before + 0.5


def test_accumulation_is_one_larger_batch(target, samples):
    weights = []
    for micro in ([samples[:4]], [samples[:2], samples[2:4]]):
        trainer = make_trainer(target)
        trainer.train_step(micro)
        weights.append(trainer.draft.fc.weight.detach().clone())
    assert torch.allclose(*weights, atol=1e-6)


def test_fused_and_reference_train_alike(target, samples):
    weights = []
    for loss in ("fused", "reference"):
        trainer = make_trainer(target, loss=loss)
        for _ in range(3):
            trainer.train_step([samples[:4]])
        weights.append(trainer.draft.lm_head.weight.detach().clone())
    assert torch.allclose(*weights, atol=1e-5)


def test_a_restart_continues_exactly(tmp_path, target, samples):
    store = WeightsStore(tmp_path)

    def steps(trainer, count):
        for _ in range(count):
            order = torch.randperm(len(samples), generator=trainer.generator)[:4].tolist()
            trainer.train_step([[samples[i] for i in order]])

    straight = make_trainer(target)
    steps(straight, 8)

    first = make_trainer(target)
    steps(first, 4)
    state.save(store, first, {"a": 2}, published=3)
    (version,) = store.versions()
    draft = state.load_draft(store, version, target)
    second = Trainer.of(config(), draft, target, CPU)
    assert state.restore(store, version, second) == ({"a": 2}, 3)
    steps(second, 4)
    assert second.step == straight.step == 8
    for name, tensor in straight.draft.state_dict().items():
        assert torch.equal(second.draft.state_dict()[name], tensor), name


def test_a_damaged_state_is_passed_over_for_the_one_before(tmp_path, target, samples):
    paths = Paths(tmp_path / "weights", tmp_path / "state")
    store = paths.open_states()
    trainer = make_trainer(target)
    for _ in range(2):
        trainer.train_step([samples[:4]])
        state.save(store, trainer, {}, published=0)
    (store.folder(1) / "optimizer.safetensors").write_bytes(b"")
    found = resume(config(), target, paths)
    assert (found.trainer.step, found.damaged) == (1, 1)


def test_a_new_vocabulary_keeps_what_was_learned_of_tokens_that_stay(target, samples):
    trainer = make_trainer(target)
    trainer.train_step([samples[:4]])
    old = trainer.draft.ids
    head = trainer.draft.lm_head.weight.detach().clone()
    moments = trainer.optimizer.state[trainer.draft.lm_head.weight]["exp_avg"].clone()
    ids = torch.arange(16, 64)
    assert trainer.set_vocabulary(ids) == int((~torch.isin(ids, old)).sum())
    for draft_id, token in enumerate(ids.tolist()):
        row = trainer.draft.lm_head.weight[draft_id]
        moment = trainer.optimizer.state[trainer.draft.lm_head.weight]["exp_avg"][draft_id]
        before = (old == token).nonzero()
        if before.numel():
            assert torch.equal(row, head[before[0, 0]])
            assert torch.equal(moment, moments[before[0, 0]])
        else:
            assert torch.equal(row, target.lm_head[token])
            assert not moment.any()
    trainer.train_step([samples[:4]])


def fill(tmp_path, samples):
    sink = SpoolSink(tmp_path / "spool", 1 << 30)
    for sample in samples:
        sink.put(sample.request, encode(sample))


def make_run(tmp_path, target, **changes):
    training = config(
        start_samples=8,
        publish_every_steps=5,
        save_every_steps=5,
        holdout_fraction=0.3,
        **{"num_train_steps": 20, "reuse": 500, **changes},
    )
    draft = DraftConfig(draft_vocab_size=48)
    ensure_first(WeightsStore(tmp_path / "weights"), draft, target, 0)
    paths = Paths(tmp_path / "weights", tmp_path / "state", tmp_path / "status.json")
    paths.state.mkdir(exist_ok=True)
    # The same samples are held out in every run of the test.
    (paths.state / holdout.FILE).write_bytes(bytes(32))
    return TrainingRun(
        resume(training, target, paths),
        draft,
        SamplesConfig(dtype="float32"),
        WeightsConfig(),
        target,
        SpoolSource(tmp_path / "spool"),
        paths,
        TrainingMetrics(training.ttt_length),
    )


def test_a_run_publishes_only_what_is_better_and_resumes(tmp_path, target, samples):
    fill(tmp_path, samples)
    run = make_run(tmp_path, target)
    run.run(lambda step: run.stop() if step == 10 else None)
    assert not run.finished
    store = WeightsStore(tmp_path / "weights")
    lengths = [store.verify(v).holdout_accept_length for v in store.versions()[1:]]
    assert lengths
    assert lengths == sorted(lengths)

    def reported():
        return json.loads((tmp_path / "status.json").read_text())["step"]

    idle = make_run(tmp_path, target)
    idle.stop()
    idle.run()
    assert reported() == 10

    again = make_run(tmp_path, target)
    assert again.trainer.step == 10
    again.run()
    assert (again.trainer.step, again.finished) == (20, True)
    assert reported() == 20
    value = again._metrics.registry.get_sample_value("aurora_train_step")
    assert value == 20
    assert again._metrics.registry.get_sample_value("aurora_train_lag_seconds_count") == 0, "all were drawn before"

    fewer = make_run(tmp_path, target, num_train_steps=15)
    fewer.run()
    assert (fewer.trainer.step, fewer.finished) == (20, True)


def test_training_continues_while_the_disk_is_full(tmp_path, target, samples, no_room, capsys):
    """With capsys, because what is printed goes to memory then and not to a file."""
    fill(tmp_path, samples)
    run = make_run(tmp_path, target)
    with no_room():
        run.run()
    assert run.trainer.step == 20
    failures = {what: run._metrics.registry.get_sample_value("aurora_train_failures_total", {"what": what})
                for what in ("publish", "save", "report")}  # fmt: skip
    assert all(count and count > 0 for count in failures.values()), failures
    assert WeightsStore(tmp_path / "weights").versions() == [0]


def test_a_step_without_a_gradient_leaves_weights_and_moments_as_they_were(target, samples):
    trainer = make_trainer(target)
    trainer.train_step([samples[:4]])

    def everything():
        return trainer.draft.state_dict(), trainer.optimizer.state_dict()["state"]

    before = copy.deepcopy(everything())
    poisoned = replace(samples[5], aux=torch.full_like(samples[5].aux, math.nan))
    result = trainer.train_step([[samples[4], poisoned]])
    assert (result.taken, trainer.step) == (False, 2)
    torch.testing.assert_close(everything(), before, rtol=0, atol=0)
    assert trainer.train_step([samples[:4]]).taken


def test_prompts_longer_than_a_sample_may_be_leave_their_answers(tmp_path, target, make_sample):
    fill(tmp_path, [make_sample(f"r{i}", length=60, prompt=48, seed=i) for i in range(24)])
    run = make_run(tmp_path, target, max_seq_length=16, num_train_steps=10)
    run.run()
    assert run.trainer.step == 10
    assert run.trainer.tokens > 10 * 4 * 8
    assert {entry.sample.aux.shape[0] for entry in run.pool.training} == {16}


def test_answers_of_one_token_are_refused_and_counted(tmp_path, target, samples, make_sample):
    fill(tmp_path, [*samples, *(make_sample(f"s{i}", length=7, prompt=6) for i in range(3))])
    run = make_run(tmp_path, target, num_train_steps=1)
    run.run()
    value = run._metrics.registry.get_sample_value
    assert value("aurora_train_samples_rejected_total", {"reason": "no_rows"}) == 3
    assert value("aurora_train_samples_received_total") == len(samples)


def test_a_step_without_a_row_is_none(tmp_path, target, samples):
    trainer = make_trainer(target, weight_decay=0.5)
    trainer.teacher.to_draft.fill_(-1)
    before = copy.deepcopy(trainer.draft.state_dict())
    result = trainer.train_step([samples[:4]])
    assert (result.taken, result.tokens, trainer.step) == (False, 0, 0)
    torch.testing.assert_close(trainer.draft.state_dict(), before, rtol=0, atol=0)
    fill(tmp_path, samples)
    run = make_run(tmp_path, target, reuse=20)
    run._review_vocabulary = lambda: None
    run.trainer.teacher.to_draft.fill_(-1)
    refill, rounds = run._arrivals.refill, []

    def end_when_idle():
        refill()
        rounds.append(run.pool.draws())
        if rounds[-2:] == [rounds[-1]] * 2:
            run.stop()

    run._arrivals.refill = end_when_idle
    run.run()
    assert run.trainer.step == 0
    assert run._metrics.registry.get_sample_value("aurora_train_failures_total", {"what": "no_rows"}) > 20
    assert WeightsStore(tmp_path / "weights").versions() == [0]


def diverging(draft, *batch):
    sums = supervision.packed(draft, *batch)
    draft.fc.weight.grad.fill_(math.nan)
    return sums


def test_a_run_that_diverged_ends_with_a_message_and_keeps_the_state_from_before(tmp_path, target, samples):
    fill(tmp_path, samples)
    run = make_run(tmp_path, target, num_train_steps=200)

    def diverge(step):
        if step == 7:
            run.trainer._micro_batch = diverging

    with pytest.raises(TrainingError, match=r"lower training\.hyperparameters\.lr"):
        run.run(diverge)
    reported = json.loads((tmp_path / "status.json").read_text(), parse_constant=pytest.fail)
    assert math.isfinite(reported["loss"])
    assert run._metrics.registry.get_sample_value("aurora_train_failures_total", {"what": "step"}) == 20
    again = make_run(tmp_path, target)
    assert 0 < again.trainer.step <= 25
    assert all(bool(p.isfinite().all()) for p in again.trainer.draft.parameters())
