"""A status as plain text: pure functions of plain data."""

import math
from datetime import datetime

from aurora_core.protocol.agent import VersionInfo

from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Candidate, Condition, Status
from aurora_operator.promotion.assignment import strategy
from aurora_operator.promotion.statistics import EFFECT_SCALE, half_width

_METRIC = {"AcceptLength": "accept length (tokens per verify cycle)", "DecodeSpeed": "decode speed (tokens per second)"}

_KIND = {
    "NewVersion": "as the newest that training published",
    "TargetOnly": "to see whether serving without speculation is faster",
    "Again": "to see whether speculation is worth it again",
    "Previous": "because the accept length of the version after it fell",
}


def _ago(then: datetime, now: datetime) -> str:
    seconds = max(0, int((now - then).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def variance_of(width: float, alpha: float) -> float:
    """The variance whose confidence sequence is this wide: the inverse of :func:`half_width`, by bisection."""
    low, high = 1e-12, 10.0
    for _ in range(80):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if half_width(middle, alpha) < width else (low, middle)
    return low


def factor_needed(candidate: Candidate, bar: float, confidence: float) -> float | None:
    """How many times the traffic so far a verdict needs, if the estimate stays as it is; None where none would do."""
    if candidate.estimate is None or candidate.lower is None or candidate.upper is None:
        return None
    distance = abs(math.log(candidate.estimate / bar))
    width = (math.log(candidate.upper) - math.log(candidate.lower)) / 2
    if distance < EFFECT_SCALE / 100 or width <= 0:
        return None
    alpha = 1 - confidence
    return max(1.0, variance_of(width, alpha) / variance_of(distance, alpha))


def explain(name: str, spec: Spec, status: Status, now: datetime) -> list[str]:
    """Why things are as they are, and what a verdict still needs."""
    lines = []
    stable, candidate, gate = status.stable, status.candidate, spec.promotion.gate
    if stable is None:
        return [f"{name}: nothing is served yet."]
    speculation = f"drafting {stable.steps} tokens a cycle" if stable.steps else "without speculation"
    lines.append(f"{name} serves version {stable.version}, {speculation}, for {_ago(stable.since, now)}.")
    if candidate is None:
        newest = status.training.last_published
        lines.append(
            f"No candidate: the newest published version is {newest}, and {status.decided} had its verdict already. "
            "The next one that training publishes goes on trial."
        )
    else:
        lines.append(
            f"Version {candidate.version} with {candidate.steps} draft steps is on trial ({strategy(spec)}) for "
            f"{_ago(candidate.since, now)}, {_KIND[candidate.kind]}; compared is "
            f"{_METRIC[candidate.metric]}, {candidate.analyses} analyses so far."
        )
        lines += _numbers(candidate, gate.min_improvement, gate.confidence, now)
    lines += [f"{c.type}: {c.status}, {c.reason}. {c.message}".strip() for c in status.conditions]
    return lines


def _numbers(candidate: Candidate, margin: float, confidence: float, now: datetime) -> list[str]:
    bar = 1 + margin
    if candidate.estimate is None:
        return [f"No estimate yet ({candidate.verdict}): {candidate.requests} requests finished under it."]
    interval = (
        f"between {candidate.lower:.3f} and {candidate.upper:.3f} with confidence {confidence:.0%} at all analyses"
    )
    measured = (
        f"It measures {candidate.value} against stable's {candidate.stable_value}: {candidate.estimate:.3f} times"
    )
    lines = [
        f"{measured} stable, {interval} together.",
        f"It is promoted when the lower end is above {bar:.3f}, rejected when the upper end is below.",
    ]
    factor = factor_needed(candidate, bar, confidence)
    if factor is None:
        lines.append("The estimate is so close to the bar that no amount of traffic in sight decides it.")
    else:
        seconds = (now - candidate.since).total_seconds() * (factor - 1)
        more = math.ceil(candidate.requests * (factor - 1))
        lines.append(
            f"If it stays there, a verdict needs about {more} more requests, {seconds / 60:.0f} min at this rate."
        )
    return lines


def overview(name: str, spec: Spec, status: Status, now: datetime) -> list[tuple[str, str]]:
    """Rows of the status view."""
    stable, candidate, training = status.stable, status.candidate, status.training
    rows = [("resource", f"{name} ({spec.mode}, {spec.target.model})")]
    rows.append(
        ("serving", f"{status.serving.ready} of {status.serving.replicas} ready, versions {status.serving.versions}")
    )
    if stable is not None:
        length = f", accept length {stable.accept_length:.2f}" if stable.accept_length else ""
        rows.append(("stable", f"version {stable.version}, {stable.steps} steps{length}, {_ago(stable.since, now)}"))
    if candidate is not None:
        interval = "no estimate yet"
        if candidate.estimate is not None:
            interval = f"{candidate.estimate:.3f} times stable [{candidate.lower:.3f}, {candidate.upper:.3f}]"
        rows.append(("candidate", f"version {candidate.version}, {interval}, {candidate.requests} requests"))
        rows.append(("verdict", candidate.verdict))
    loss = "" if training.loss is None else f", loss {training.loss:.3f}"
    rows.append(
        ("training", f"step {training.step}, {training.samples} samples{loss}, published {training.last_published}")
    )
    rows += [(f"- {e.version} {e.verdict}", e.reason) for e in status.history[:5]]
    return rows


def is_fine(condition: Condition) -> bool:
    """Whether a condition says that nothing is to be done: a trial may run or not, but must not be blind."""
    if condition.type == "PromotionProgressing":
        return condition.reason != "NoData"
    return condition.status == ("False" if condition.type == "Degraded" else "True")


def version_row(found: VersionInfo, status: Status) -> tuple[str, ...]:
    """A row of the table of versions: a version, and what became of it."""
    version = found.version
    marks = []
    if status.stable is not None and version == status.stable.version:
        marks.append("stable")
    if status.candidate is not None and version == status.candidate.version:
        marks.append("on trial")
    marks += [entry.verdict for entry in status.history if entry.version == version][:1]
    length = found.holdout_accept_length
    return (
        str(version),
        "-" if found.parent is None else str(found.parent),
        "-" if found.created is None else f"{found.created:%Y-%m-%d %H:%M}",
        str(found.step),
        "-" if length is None else f"{length:.3f}",
        f"{found.bytes / 2**20:.0f}",
        ", ".join(marks),
    )
