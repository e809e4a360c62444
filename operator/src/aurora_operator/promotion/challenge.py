"""Which trial begins next: a newer version, or a challenge of stable by what was there before.

A draft that was right yesterday can be wrong today. Two observations make stable prove itself again, against an
opponent that is live at the same time, by the same statistics that promoted it:

- its accept length fell: the version before challenges it, and a proved win is a rollback;
- it is long since speculation was compared with none: target-only challenges it, and a proved win switches
  speculation off; while it is off, the draft challenges target-only as often.

The observation only begins a trial. It decides nothing, so a false alarm costs traffic and never a wrong verdict.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from aurora_operator.api.promotion import Gate
from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Anchor, Candidate, Entry, Stable
from aurora_operator.promotion.progress import Published, rounded
from aurora_operator.promotion.watch import FALL, PATIENCE_SECONDS, Watch, fell

LONGEST_RECHECK_SECONDS = 86400.0
"""Between two comparisons of speculation with none, where recheckSeconds is not longer."""
MOST_COST = 0.01
"""Share of throughput that all comparisons of speculation with none may cost together."""
_LARGEST_SHARE = 0.5
_UNKNOWN_LOSS = 0.5
CONFIRMED_SLICES = 20
"""Time slices with work after a promotion, from which its accept length is measured again."""


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
    """Stable with what its accept length is measured against from now on, where traffic says it.

    What a trial measured of its winner is too high on average, because it won. Traffic after the promotion replaces it,
    unless that is lower by so much that it is a fall already.
    """
    if watch is None or not stable.steps or stable.accept_confirmed:
        return stable
    value, variance = watch.stable.ratio, watch.stable.log_variance()
    if watch.requests < spec.promotion.gate.min_requests or value is None or variance is None:
        return stable
    held = stable.accept_length
    # Few slices are better than nothing; more replace them once.
    if held is not None and (watch.stable.n < CONFIRMED_SLICES or value < held * (1 - FALL)):
        return stable
    found = {"accept_length": rounded(value), "accept_variance": _digits(variance)}
    return stable.model_copy(update={**found, "accept_confirmed": watch.stable.n >= CONFIRMED_SLICES})


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def _fell(stable: Stable, watch: Watch, challenged: datetime | None, now: datetime) -> bool:
    """Whether stable's accept length fell, and no challenge was in vain lately."""
    if stable.accept_length is None or stable.accept_length <= 0:
        return False
    if challenged is not None and now - challenged < timedelta(seconds=PATIENCE_SECONDS):
        return False
    return fell(watch.windows, stable.accept_length, stable.accept_variance or 0.0)


def recheck_seconds(spec: Spec, kept: int) -> float:
    """Seconds between two comparisons of speculation with none: twice as many after each that changed nothing.

    Half of a comparison's traffic is served by the slower arm, so repeating often what ends alike each time costs more
    than it can gain.
    """
    first = spec.promotion.recheck_seconds
    return max(first, min(LONGEST_RECHECK_SECONDS, first * 2.0 ** min(kept, 20)))


def recheck_after(candidate: Candidate, now: datetime) -> datetime:
    """When the next comparison of speculation with none may begin, after one that changed nothing and is over now.

    A comparison of D seconds whose slower arm, under at most half of the traffic, lost a share l costs D l / 2 seconds
    of throughput at most. Then D l / 2 / 1 % pass without one. So whenever one begins, all that were before it have
    cost at most 1 % of what was served until then, however long they took and however often versions change. A loss
    that nothing was measured of is taken to be a half.
    """
    lost = _UNKNOWN_LOSS if candidate.estimate is None else max(0.0, 1 - candidate.estimate)
    cost = (now - candidate.since) * _LARGEST_SHARE * lost
    return now + cost / MOST_COST


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
    challenged: datetime | None = None,
    anchor: Anchor | None = None,
) -> Candidate | None:
    """The next trial, or None; ``challenged`` is when the version before last did so in vain."""
    fresh = newest(decided, stable, versions)
    measured = spec.promotion.strategy not in {"Immediate", "Manual"}
    busy = measured and watch is not None and watch.busy(spec.promotion.gate.min_requests, now.timestamp())
    if busy and watch is not None:
        on_disk = {one.version for one in versions}
        steps = stable.previous_steps or 0
        if _fell(stable, watch, challenged, now) and stable.previous in on_disk and stable.previous is not None:
            return _candidate("Previous", stable, stable.previous, steps, now)
        if anchor is not None and anchor.doubted and not anchor.compared and anchor.version in on_disk:
            found = _candidate("Best", stable, anchor.version, anchor.steps, now)
            return found.model_copy(update={"digest": anchor.digest})
        since = stable.checked or stable.since
        wait = recheck_seconds(spec, kept_in_a_row(history))
        due = wait and now - since >= timedelta(seconds=wait)
        due = due and (stable.recheck_after is None or now >= stable.recheck_after)
        # A token tree, or a block, cannot be switched off while the engine runs.
        if due and spec.draft.switchable:
            if stable.steps:
                return _candidate("TargetOnly", stable, stable.version, 0, now)
            if fresh is None and (stable.version or not spec.day_zero):
                return _candidate("Again", stable, stable.version, spec.draft.num_steps, now)
    if fresh is None:
        return None
    found = _candidate("NewVersion", stable, fresh.version, spec.draft.num_steps, now)
    return found.model_copy(update={"holdout_accept_length": rounded(fresh.holdout), "digest": fresh.digest or None})


def _candidate(
    kind: Literal["NewVersion", "TargetOnly", "Previous", "Again", "Best"],
    stable: Stable,
    version: int,
    steps: int,
    now: datetime,
) -> Candidate:
    return Candidate(version=version, steps=steps, kind=kind, since=now, metric=metric(stable, steps))
