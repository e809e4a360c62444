"""A status as plain text: pure functions of plain data."""

from datetime import datetime

from aurora_core.protocol.agent import VersionInfo

from aurora_operator.api.promotion import Gate
from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Candidate, Condition, Forecast, Status, StratumEstimate
from aurora_operator.promotion.assignment import strategy
from aurora_operator.promotion.statistics import ends

_METRIC = {"AcceptLength": "accept length (tokens per verify cycle)", "DecodeSpeed": "decode speed (tokens per second)"}

_TOO_LITTLE = 0.02
"""Of a proof: no forecast from less."""
_KIND = {
    "NewVersion": "as the newest that training published",
    "TargetOnly": "to see whether serving without speculation is faster",
    "Again": "to see whether speculation is worth it again",
    "Previous": "because the accept length of the version after it fell",
    "Best": "because stable may be below it, the best version so far",
}


def _ago(then: datetime, now: datetime) -> str:
    seconds = max(0, int((now - then).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def is_switched_off(status: Status) -> bool:
    """Whether a person keeps speculation off, whatever stable has."""
    return any(c.type == "Speculating" and c.reason in {"SwitchedOff", "SwitchingOff"} for c in status.conditions)


def explain(name: str, spec: Spec, status: Status, now: datetime) -> list[str]:
    """Why things are as they are, and what a verdict still needs."""
    lines = []
    stable, candidate, gate = status.stable, status.candidate, spec.promotion.gate
    if stable is None:
        return [f"{name}: nothing is served yet."]
    speculation = f"drafting {stable.steps} tokens a cycle" if stable.steps else "without speculation"
    if is_switched_off(status):
        speculation = "without speculation because a person switched it off"
    lines.append(f"{name} serves version {stable.version}, {speculation}, for {_ago(stable.since, now)}.")
    if candidate is None:
        newest = status.training.last_published
        lines.append(
            f"No candidate: the newest published version is {newest}, and {status.decided} is decided. "
            "The next one that training publishes goes on trial."
        )
    else:
        lines.append(
            f"Version {candidate.version} with {candidate.steps} draft steps is on trial ({strategy(spec)}) for "
            f"{_ago(candidate.since, now)}, {_KIND[candidate.kind]}; compared by "
            f"{_METRIC[candidate.metric]}, {candidate.analyses} analyses so far."
        )
        lines += _numbers(candidate, gate, now, manual=strategy(spec) == "Manual")
    if status.forecast is not None:
        lines.append(_forecast(status.forecast, gate))
    lines += [f"{c.type}: {c.status}, {c.reason}. {c.message}".strip() for c in status.conditions]
    return lines


def _forecast(found: Forecast, gate: Gate) -> str:
    traffic = (
        f"At {found.requests_per_minute:.3g} requests a minute, with blocks that differ by {found.spread:.1%} without "
        f"any effect and count every {found.seconds_per_block:.0f} s,"
    )
    within = f"within maxDurationSeconds ({gate.max_duration_seconds / 3600:.3g} h)"
    if found.smallest is None:
        return f"{traffic} no improvement of 50 % or less can be proved {within}: NotDecidable, and no trial begins."
    reach = f"the smallest improvement that is proved {within} is about {found.smallest:.0%}"
    if found.worthwhile_seconds is None:
        return f"{traffic} {reach}."
    took = f"{found.worthwhile_seconds / 60:.0f} min"
    return f"{traffic} {reach}; one of {gate.min_worthwhile:.0%} takes about {took} in half of trials."


def _numbers(candidate: Candidate, gate: Gate, now: datetime, *, manual: bool) -> list[str]:
    bar, worthwhile = 1 + gate.min_improvement, 1 + max(gate.min_improvement, gate.min_worthwhile)
    void = f", {candidate.void_blocks} more did not count" if candidate.void_blocks else ""
    if candidate.estimate is None:
        return [f"No estimate yet ({candidate.verdict}): {candidate.requests} requests finished under it{void}."]
    estimate = f"In {candidate.blocks} blocks of two time slices it was {candidate.estimate:.3f} times stable{void}"
    wrong = 1 - gate.confidence
    probabilities = f"wrong with a probability of at most {candidate.alpha or wrong:.2%} below, {wrong:.2%} above"
    both = f"{candidate.value} under it and {candidate.stable_value} under stable: {candidate.ratio_of_sums} times"
    lines = [
        f"{estimate}; {ends(candidate.lower, candidate.upper)} ({probabilities}), at all analyses together.",
        f"All traffic of these slices together measured {both}.",
        "A person decides: aurora promote or aurora reject."
        if manual
        else f"It is promoted when the lower end is above {bar:.3f}, "
        f"rejected when the upper end is below {worthwhile:.3f}.",
    ]
    lines += [_stratum(one) for one in candidate.strata]
    if not candidate.progress or candidate.progress < _TOO_LITTLE:
        lines.append("The blocks so far hardly favor either.")
    else:
        seconds = (now - candidate.since).total_seconds() * (1 / candidate.progress - 1)
        rest = f"if it stays like this, the rest takes {seconds / 60:.0f} min"
        lines.append(f"{candidate.progress:.0%} of a proof is there; {rest}.")
    return lines


def _stratum(one: StratumEstimate) -> str:
    if one.estimate is None:
        return f"In stratum {one.name} no block counts yet."
    speed = "" if one.speed_ratio is None else f", decode speed {one.speed_ratio:.3f} times stable's"
    return f"In stratum {one.name} it was {one.estimate:.3f} times stable ({ends(one.lower, one.upper)}){speed}."


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
    if is_switched_off(status):
        rows.append(("speculation", "switched off by a person, until aurora speculation on"))
    if candidate is not None:
        interval = "no estimate yet"
        if candidate.estimate is not None:
            interval = f"{candidate.estimate:.3f} times stable ({ends(candidate.lower, candidate.upper)})"
        rows.append(("candidate", f"version {candidate.version}, {interval}, {candidate.requests} requests"))
        rows.append(("verdict", candidate.verdict))
        rows += [
            (f"stratum {one.name}", f"{one.estimate:.3f} times stable ({ends(one.lower, one.upper)})")
            for one in candidate.strata
            if one.estimate is not None
        ]
    loss = "" if training.loss is None else f", loss {training.loss:.3f}"
    ranks = f"; {training.ready} of {training.ranks} ranks are ready" if training.ranks > 1 else ""
    withheld = f", {training.withheld} evaluations since then within noise" if training.withheld else ""
    published = f"published {training.last_published}{withheld}{ranks}"
    rows.append(("training", f"step {training.step}, {training.samples} samples{loss}, {published}"))
    rows += [(f"- {e.version} {e.verdict}", e.reason) for e in status.history[:5]]
    return rows


LIST = ("namespace", "name", "ready", "stable", "steps", "candidate", "verdict", "degraded")


def list_row(namespace: str, name: str, spec: Spec, status: Status) -> tuple[str, ...]:
    """A row of the table of all resources."""
    stable, candidate = status.stable, status.candidate
    degraded = next((c.reason for c in status.conditions if c.type == "Degraded" and c.status == "True"), "")
    return (
        namespace,
        name,
        f"{status.serving.ready}/{spec.serving.replicas}",
        "-" if stable is None else str(stable.version),
        "-" if stable is None else str(stable.steps),
        "-" if candidate is None else str(candidate.version),
        "-" if candidate is None else candidate.verdict,
        degraded or "-",
    )


def is_fine(condition: Condition) -> bool:
    """Whether a condition says that nothing is to be done: a trial may run or not, but must not be blind."""
    if condition.type == "PromotionProgressing":
        return condition.reason not in {"NoData", "NotDecidable", "RouteNotReady"}
    if condition.type == "Speculating":
        return condition.reason != "CannotSwitchOff"
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
