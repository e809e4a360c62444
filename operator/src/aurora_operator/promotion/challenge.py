"""Which trial begins next: a newer version, or a challenge of stable by what was there before.

A draft that was right yesterday can be wrong today. Two observations make stable prove itself again, against an
opponent that is live at the same time, by the same statistics that promoted it:

- its accept length fell: the version before challenges it, and a proved win is a rollback;
- it is long since speculation was compared with none: target-only challenges it, and a proved win switches
  speculation off; while it is off, the draft challenges target-only as often.

The observation only begins a trial. It decides nothing, so a false alarm costs traffic and never a wrong verdict.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from aurora_operator.api.promotion import Gate
from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Candidate, Entry, Stable
from aurora_operator.promotion.progress import Published, rounded
from aurora_operator.promotion.statistics import Sums, regressed

LONGEST_RECHECK_SECONDS = 86400.0
"""Between two comparisons of speculation with none, where recheckSeconds is not longer."""
FALL = 0.05
"""Only a fall of accept length that is proved to be larger than this share is worth a trial."""


@dataclass(frozen=True)
class Watch:
    """What live traffic says of stable while nothing is on trial.

    Attributes:
        stable: accept length's sums, time slices as units.
        requests: how many finished under it.
    """

    stable: Sums
    requests: int


def metric(stable: Stable, steps: int) -> Literal["AcceptLength", "DecodeSpeed"]:
    """Accept length compares drafts of the same number of steps; everything else is compared by speed."""
    return "AcceptLength" if stable.steps == steps and steps else "DecodeSpeed"


def challenge_gate(spec: Spec) -> Gate:
    """A challenger must be proved better, and may not keep newer versions waiting for long."""
    gate = spec.promotion.gate
    longest = min(gate.max_duration_seconds, max(60, spec.promotion.recheck_seconds or gate.max_duration_seconds))
    return gate.model_copy(
        update={"min_improvement": 0.0, "on_inconclusive": "KeepStable", "max_duration_seconds": longest}
    )


def newest(decided: int, stable: Stable, versions: Sequence[Published]) -> Published | None:
    """The newest version that had no verdict yet."""
    fresh = [one for one in versions if one.version > max(decided, stable.version)]
    return max(fresh, key=lambda one: one.version, default=None)


def baseline(spec: Spec, stable: Stable, watch: Watch | None) -> Stable:
    """Stable with what its accept length is measured against from now on, where that is not known yet."""
    if watch is None or not stable.steps or stable.accept_length is not None:
        return stable
    value, variance = watch.stable.ratio, watch.stable.log_variance()
    if watch.requests < spec.promotion.gate.min_requests or value is None or variance is None:
        return stable
    return stable.model_copy(update={"accept_length": rounded(value), "accept_variance": _digits(variance)})


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def _regressed(spec: Spec, stable: Stable, watch: Watch) -> bool:
    if stable.accept_length is None or watch.requests < spec.promotion.gate.min_requests:
        return False
    return regressed(
        watch.stable, stable.accept_length, stable.accept_variance or 0.0, spec.promotion.gate.confidence,
        math.log1p(-FALL),
    )  # fmt: skip


def recheck_seconds(spec: Spec, kept: int) -> float:
    """Seconds between two comparisons of speculation with none: twice as many after each that changed nothing.

    Half of a comparison's traffic is served by the slower arm, so repeating often what ends alike each time costs more
    than it can gain.
    """
    first = spec.promotion.recheck_seconds
    return max(first, min(LONGEST_RECHECK_SECONDS, first * 2.0 ** min(kept, 20)))


def kept_in_a_row(history: Sequence[Entry]) -> int:
    """How many of the last comparisons of speculation with none changed nothing."""
    count = 0
    for entry in history:
        if entry.verdict in {"SpeculationKept", "SpeculationStaysOff"}:
            count += 1
        elif entry.verdict in {"SpeculationOn", "SpeculationOff", "Promoted", "RolledBack"}:
            break
    return count


def begin(
    spec: Spec,
    stable: Stable,
    decided: int,
    versions: Sequence[Published],
    watch: Watch | None,
    now: datetime,
    history: Sequence[Entry] = (),
) -> Candidate | None:
    """The next trial, or None."""
    fresh = newest(decided, stable, versions)
    measured = spec.promotion.strategy not in {"Immediate", "Manual"}
    busy = measured and watch is not None and watch.requests >= spec.promotion.gate.min_requests
    if busy and watch is not None:
        on_disk = {one.version for one in versions}
        steps = stable.previous_steps or 0
        if _regressed(spec, stable, watch) and stable.previous in on_disk and stable.previous is not None:
            return _candidate("Previous", stable, stable.previous, steps, now)
        since = stable.checked or stable.since
        wait = recheck_seconds(spec, kept_in_a_row(history))
        due = wait and now - since >= timedelta(seconds=wait)
        # A token tree cannot be switched off while the engine runs.
        if due and spec.draft.top_k == 1:
            if stable.steps:
                return _candidate("TargetOnly", stable, stable.version, 0, now)
            if fresh is None and (stable.version or spec.mode == "ExternalWithDraft"):
                return _candidate("Again", stable, stable.version, spec.draft.num_steps, now)
    if fresh is None:
        return None
    found = _candidate("NewVersion", stable, fresh.version, spec.draft.num_steps, now)
    return found.model_copy(update={"holdout_accept_length": rounded(fresh.holdout), "digest": fresh.digest or None})


def _candidate(
    kind: Literal["NewVersion", "TargetOnly", "Previous", "Again"],
    stable: Stable,
    version: int,
    steps: int,
    now: datetime,
) -> Candidate:
    return Candidate(version=version, steps=steps, kind=kind, since=now, metric=metric(stable, steps))
