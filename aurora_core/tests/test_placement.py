"""Mode Online: who gets which GPUs and CPUs, and what is refused."""

import pytest
from aurora_core.config import OnlineConfig
from aurora_core.errors import ConfigError
from aurora_core.online.placement import ENGINE_NODE, TRAINER_NODE, Machine, here, joined
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError


def test_a_machine_without_gpus():
    seats = here(OnlineConfig(), 1, Machine(2, 0), gpus=False)
    assert seats.groups == (({"CPU": 1.0},), ({"CPU": 1.0},))
    assert [seat.numbers for seat in (*seats.engines, *seats.trainers)] == [None, None]


def test_gpus_that_nobody_named():
    seats = here(OnlineConfig(engines=2), 2, Machine(8, 8), gpus=True)
    assert [seat.numbers for seat in seats.engines] == [(0, 1), (2, 3)]
    assert seats.trainers[0].numbers == (4,)
    assert seats.groups[0] == ({"CPU": 1.0, "GPU": 2}, {"CPU": 1.0, "GPU": 2})


def test_gpus_that_are_named():
    seats = here(OnlineConfig(serving_gpus=(3,), training_gpus=(1,)), 1, Machine(4, 4), gpus=True)
    assert (seats.engines[0].numbers, seats.trainers[0].numbers) == ((3,), (1,))


def test_gpus_that_are_shared():
    config = OnlineConfig(serving_gpus=(0,), training_gpus=(0,), colocate=True, serving_share=0.75)
    seats = here(config, 1, Machine(4, 1), gpus=True)
    assert seats.groups == (({"CPU": 2.0, "GPU": 1.0},),)
    assert (seats.engines[0].gpus, seats.trainers[0].gpus) == (0.75, 0.25)
    assert seats.engines[0].bundle == seats.trainers[0].bundle


@pytest.mark.parametrize(
    ("config", "machine", "message"),
    [
        ({"serving_gpus": (0,)}, Machine(4, 1), "no GPU is left for 1 trainers"),
        ({"serving_gpus": (0,), "training_gpus": (4,)}, Machine(4, 4), "trainingGpus: this machine has no GPU 4"),
        ({"serving_gpus": (9,), "training_gpus": (0,)}, Machine(4, 4), "servingGpus: this machine has no GPU 9"),
        ({"serving_gpus": (0,), "engines": 2}, Machine(4, 4), "names 1 GPUs, too few for 2 engines"),
        ({"serving_gpus": (0, 1)}, Machine(4, 4), "too many"),
        ({"training_gpus": (0,)}, Machine(4, 4), r"overlap in \[0\]"),
        ({"engines": 8}, Machine(2, 16), "reserve 9 CPUs, and there are 2"),
    ],
)
def test_what_cannot_be_placed(config, machine, message):
    with pytest.raises(ConfigError, match=message):
        here(OnlineConfig(**config), 1, machine, gpus=True)


def test_gpus_are_named_where_nothing_runs_on_them():
    with pytest.raises(ConfigError, match="leave online"):
        here(OnlineConfig(serving_gpus=(0,)), 1, Machine(4, 0), gpus=False)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"serving_gpus": (0, 1), "training_gpus": (1,)}, r"overlap in \[1\]"),
        ({"serving_gpus": (0, 0)}, "names a GPU twice"),
        ({"serving_gpus": (0,), "training_gpus": (1,), "colocate": True}, "must be one of servingGpus"),
        ({"training_gpus": (1, 2)}, "names 2 GPUs for 1 trainers"),
    ],
)
def test_sets_that_make_no_sense(config, message):
    with pytest.raises(ValidationError, match=message):
        OnlineConfig(**config)


def test_a_cluster_that_is_there():
    nodes = [{"CPU": 8.0, "GPU": 2.0, ENGINE_NODE: 1.0}, {"CPU": 8.0, "GPU": 1.0, TRAINER_NODE: 1.0}]
    seats = joined(OnlineConfig(), 2, nodes, gpus=True)
    assert seats.groups == (
        ({"CPU": 1.0, "GPU": 1.0, TRAINER_NODE: 1.0},),
        ({"CPU": 1.0, "GPU": 2.0, ENGINE_NODE: 1.0},),
    )
    # Another engine leaves all groups as they are; a trainer's node that is still to come has GPUs as engines have.
    more = joined(OnlineConfig(engines=2), 2, nodes[:1], gpus=True)
    assert more.groups == (*seats.groups, seats.groups[1])
    assert (more.engines[0], more.trainers) == (seats.engines[0], seats.trainers)
    with pytest.raises(ConfigError, match="are for one machine"):
        joined(OnlineConfig(serving_gpus=(0,)), 1, nodes, gpus=True)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 12), st.booleans())
def test_no_gpu_is_given_twice_and_none_is_oversubscribed(engines, each, gpus, colocate):
    config = OnlineConfig(engines=engines, colocate=colocate)
    try:
        seats = here(config, each, Machine(64, gpus), gpus=True)
    except ConfigError:
        assert gpus < engines * each + (not colocate)
        return
    serving = [gpu for seat in seats.engines for gpu in seat.numbers]
    training = seats.trainers[0].numbers
    assert len(set(serving)) == len(serving) == engines * each
    assert len(training) == 1
    assert (training[0] in serving) == colocate
    assert all(gpu < gpus for gpu in (*serving, *training))
    for group, bundles in enumerate(seats.groups):
        for index, bundle in enumerate(bundles):
            there = [s for s in (*seats.engines, *seats.trainers) if (s.group, s.bundle) == (group, index)]
            assert sum(seat.gpus for seat in there) <= bundle["GPU"] + 1e-9
            assert sum(seat.cpus for seat in there) == pytest.approx(bundle["CPU"])


def test_several_trainers_have_a_gpu_each_and_no_engine_notices_how_many():
    here_ = here(OnlineConfig(trainers=2), 1, Machine(3, 3), gpus=True)
    assert [seat.numbers for seat in here_.trainers] == [(1,), (2,)]
    with pytest.raises(ConfigError, match="1 GPU is left for 2 trainers"):
        here(OnlineConfig(trainers=2), 1, Machine(3, 2), gpus=True)
    nodes = [{"CPU": 8.0, "GPU": 1.0, ENGINE_NODE: 1.0}, {"CPU": 8.0, "GPU": 4.0, TRAINER_NODE: 4.0}]
    one, four = (joined(OnlineConfig(trainers=trainers), 1, nodes, gpus=True) for trainers in (1, 4))
    assert [four.groups[seat.group] for seat in four.trainers] == [one.groups[0]] * 4
    assert [four.groups[seat.group] for seat in four.engines] == [one.groups[one.engines[0].group]]
