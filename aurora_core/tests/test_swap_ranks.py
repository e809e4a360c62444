"""Ranks that share a target swap together: all of them in one cycle, or none."""

import json
import multiprocessing
from types import SimpleNamespace

import pytest
import torch.distributed as dist
from aurora_core.engine import agreement, swap
from aurora_core.errors import EngineError

CONTEXT = multiprocessing.get_context("fork")


def rank_of_an_engine(rank, folder, prepared, fails):
    """What a rank does with the command to activate version 1."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    agree = agreement.among(SimpleNamespace(tp_cpu_group=dist.new_group()))
    copied = []

    def load(_worker, loaded):
        copied.append(loaded.version)
        if rank == fails and loaded.version == 1:
            raise KeyError("weights")

    swap._load = load
    one = swap.DraftSwap(None, SimpleNamespace(version=0), "t")
    if prepared[rank]:
        one._loaded, one.state.prepared = SimpleNamespace(version=1), 1
    agreed = agree(one.is_prepared(1))
    if agreed:
        try:
            one.activate(1, None, agree)
        except EngineError as error:
            copied.append(str(error))
    dist.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps([agreed, one.state.live, copied]))


@pytest.mark.parametrize(
    ("prepared", "fails", "first", "second"),
    [
        ((True, True), None, [True, 1, [1]], [True, 1, [1]]),
        ((True, False), None, [False, 0, []], [False, 0, []]),
        (
            (True, True),
            1,
            [True, 0, [1, 0, "the engine refused version 1: another rank of the engine refused it; its log says why"]],
            [True, 0, [1, 0, "the engine refused version 1: 'weights'"]],
        ),
    ],
)
def test_all_ranks_swap_or_none(tmp_path, prepared, fails, first, second):
    ranks = [CONTEXT.Process(target=rank_of_an_engine, args=(rank, tmp_path, prepared, fails)) for rank in range(2)]
    for one in ranks:
        one.start()
    for one in ranks:
        one.join(120)
        assert one.exitcode == 0
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)] == [first, second]


def test_one_rank_asks_nobody():
    assert agreement.among(SimpleNamespace()) is agreement.alone
    assert agreement.alone(True)
    assert not agreement.alone(False)
