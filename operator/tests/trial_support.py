"""A trial under way, as plain data, and what an analysis makes of it."""

import math
from datetime import timedelta

from aurora_operator.api.status import Candidate, Stable, Status
from aurora_operator.promotion.blocks import Trial
from aurora_operator.promotion.eprocess import Block
from aurora_operator.promotion.gate import Evidence
from aurora_operator.promotion.progress import Pod
from aurora_operator.promotion.statistics import Sums
from aurora_operator.promotion.trial import Found, Seen, advance
from operator_support import NOW, a_spec

PODS = (Pod("a", "10.0.0.1", 0, 0, 1.0),)
STABLE = Stable(version=2, steps=3, since=NOW, previous=1, previous_steps=3)
HELD = Stable(version=2, steps=3, since=NOW, previous=1, previous_steps=3, accept_length=2.0, accept_variance=1e-4)
TRIAL = Candidate(version=5, steps=3, since=NOW, holdout_accept_length=2.0)


def units(ratio):
    return Sums.of((20 * ratio * (1 + 0.1 * (-1) ** i), 20) for i in range(100))


def evidence(ratio):
    """30 blocks in which the candidate's metric is around ``ratio`` and stable's is 2."""
    blocks = tuple(Block(math.log(ratio / 2.0) + 0.05 * (-1) ** i, 1000.0) for i in range(30))
    return Evidence(Trial(blocks, 0, units(ratio), units(2.0)), candidate_requests=100, stable_requests=100)


def analyse(status=None, annotations=None, versions=(), pods=PODS, found=None, now=NOW, watch=None, guards=(), **spec):
    reported = Found(evidence=found, watch=watch, stable_guards=guards)
    seen = Seen(now, annotations or {}, versions, pods, reported)
    return advance(a_spec(**spec), status or Status(), seen)


def on_trial(**more):
    return Status(stable=STABLE, candidate=TRIAL, decided=4, **more)


def after(at):
    return Status(stable=at.stable, candidate=at.candidate, decided=at.decided, history=list(at.history),
                  challenged=at.challenged, forecast=at.forecast)  # fmt: skip


def later(seconds):
    return NOW + timedelta(seconds=seconds)
