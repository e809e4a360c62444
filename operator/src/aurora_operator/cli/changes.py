"""What a person can ask of a deployment: whether it can have an effect, and how to see that it had it.

Pure functions of a resource's spec, annotations and status; :mod:`aurora_operator.cli.effect` carries them out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aurora_operator.api.models import DraftSpec
from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Condition, Entry, Status
from aurora_operator.promotion.manual import OFF, PAUSE, PROMOTE, REJECT, ROLL_BACK, SPECULATION, is_paused


@dataclass(frozen=True)
class Outcome:
    """What came of a request so far.

    Attributes:
        message: a sentence.
        done: whether it is final.
        fulfilled: whether what was asked for happened; meaningful where it is final.
    """

    message: str
    done: bool = False
    fulfilled: bool = True


@dataclass(frozen=True)
class Request:
    """A change to ask of the operator.

    Attributes:
        annotation: as ``kubectl annotate`` takes it.
        doing: what it asks for, briefly.
        seen: what came of it, from a later status.
        undo: the annotation that takes it back.
        once: whether the annotation has no meaning any more once the outcome is final.
    """

    annotation: str
    doing: str
    seen: Callable[[Status], Outcome]
    undo: str
    once: bool = False


@dataclass(frozen=True)
class Nothing:
    """Nothing would happen.

    Attributes:
        why: a sentence that says what to do instead, where there is something.
        already: whether things are as asked for, so that the command succeeds.
    """

    why: str
    already: bool = False


def _condition(status: Status, kind: str) -> Condition | None:
    return next((one for one in status.conditions if one.type == kind), None)


def _newer(status: Status, before: Status) -> list[Entry]:
    """Verdicts that came since."""
    last = before.history[0].time if before.history else None
    return [entry for entry in status.history if last is None or entry.time > last]


def _everywhere(status: Status, version: int) -> Outcome | None:
    """That engines have not all taken a version yet; None where they have, but for those of a new trial."""
    found = set(status.serving.versions)
    if found and found <= {version, version if status.candidate is None else status.candidate.version}:
        return None
    live = ", ".join(map(str, sorted(found))) or "none that is known"
    return Outcome(f"version {version} is stable; engines serve version {live}")


def _held(spec: Spec, annotations: Mapping[str, str]) -> str:
    """Why nothing is decided at all."""
    if spec.suspend:
        return "spec.suspend is true, so nothing is decided: set it to false first"
    if is_paused(annotations):
        return "promotion is paused: aurora resume first"
    if annotations.get(SPECULATION) == OFF:
        return "speculation is switched off, so there are no trials: aurora speculation on first"
    return ""


def promote(spec: Spec, annotations: Mapping[str, str], status: Status) -> Request | Nothing:
    """Make the candidate stable without proof."""
    candidate = status.candidate
    held = _held(spec, annotations)
    if held:
        return Nothing(held)
    if status.stable is None:
        return Nothing("nothing is served yet")
    if candidate is None:
        return Nothing("there is no candidate: aurora versions lists what is published")
    version = candidate.version
    if candidate.kind in {"TargetOnly", "Again"}:
        what = "without speculation" if candidate.kind == "TargetOnly" else "with speculation"
        return Nothing(
            f"the trial compares serving {what} with stable, and has no version to promote: "
            "aurora speculation off switches drafting off, aurora reject ends the trial"
        )
    if candidate.kind in {"Previous", "Best"}:
        return Nothing(
            f"version {version} was stable before and challenges version {status.stable.version}: "
            f"aurora rollback --to {version} makes it stable now"
        )

    def seen(now: Status) -> Outcome:
        for entry in _newer(now, status):
            if entry.version == version and entry.verdict == "Promoted":
                return _everywhere(now, version) or Outcome(f"version {version} is promoted, in all engines", True)
            if entry.version == version:
                return Outcome(f"version {version} was not promoted: {entry.verdict}, {entry.reason}", True, False)
        return Outcome("the operator has not decided yet")

    return Request(f"{PROMOTE}={version}", f"promotion of version {version}", seen, f"{PROMOTE}-", once=True)


def reject(spec: Spec, annotations: Mapping[str, str], status: Status) -> Request | Nothing:
    """End the candidate's trial."""
    held = _held(spec, annotations)
    if held:
        return Nothing(held)
    if status.candidate is None:
        return Nothing("there is no candidate")
    version = status.candidate.version

    def seen(now: Status) -> Outcome:
        for entry in _newer(now, status):
            if entry.version == version:
                ended = entry.verdict not in {"Promoted", "SpeculationOff", "SpeculationOn", "RolledBack"}
                return Outcome(f"the trial of version {version} ended: {entry.verdict}, {entry.reason}", True, ended)
        return Outcome("the operator has not decided yet")

    return Request(f"{REJECT}={version}", f"rejection of version {version}", seen, f"{REJECT}-", once=True)


def rollback(to: int | None, status: Status) -> Request | Nothing:
    """Make an earlier version stable: the one before, or the one that is named."""
    stable = status.stable
    if stable is None:
        return Nothing("nothing is served yet")
    target = stable.previous if to is None else to
    if target is None:
        return Nothing("the version before the stable one is not known: aurora versions lists them; name one with --to")
    if target == stable.version:
        return Nothing(f"version {target} is stable already", already=True)
    if not 0 <= target <= max(status.decided, stable.version):
        return Nothing(f"no rollback to version {target}: it was never tried; aurora versions lists what there is")

    def seen(now: Status) -> Outcome:
        for entry in _newer(now, status):
            if entry.verdict == "RolledBack" and now.stable is not None and now.stable.version == target:
                return _everywhere(now, target) or Outcome(f"{entry.reason}: all engines serve it", True)
        progress = _condition(now, "PromotionProgressing")
        if progress is not None and progress.message.startswith(f"no rollback to version {target}:"):
            return Outcome(progress.message.partition(";")[0], True, False)
        return Outcome("the operator has not rolled back yet")

    value = f"{stable.version}" if to is None else f"{stable.version}:{to}"
    doing = f"rollback from version {stable.version} to {target}"
    return Request(f"{ROLL_BACK}={value}", doing, seen, f"{ROLL_BACK}-", once=True)


def pause(annotations: Mapping[str, str]) -> Request | Nothing:
    """End the trial without a verdict and begin none."""
    if is_paused(annotations):
        return Nothing("promotion is paused already", already=True)

    def seen(now: Status) -> Outcome:
        found = _condition(now, "PromotionProgressing")
        reason = "" if found is None else found.reason
        if reason == "Suspended":
            return Outcome("promotion is paused; spec.suspend is true as well", True)
        if reason == "Paused" and now.candidate is None:
            return Outcome("promotion is paused: no version is on trial, and none will be before aurora resume", True)
        return Outcome("the operator has not paused yet")

    return Request(f"{PAUSE}=true", "pause of promotion", seen, f"{PAUSE}-")


def resume(annotations: Mapping[str, str]) -> Request | Nothing:
    """Decide again."""
    if not is_paused(annotations):
        return Nothing("promotion is not paused", already=True)

    def seen(now: Status) -> Outcome:
        found = _condition(now, "PromotionProgressing")
        if found is None or found.reason == "Paused":
            return Outcome("the operator has not resumed yet")
        return Outcome(f"promotion resumed: {found.reason}, {found.message}", True)

    return Request(f"{PAUSE}-", "resumption of promotion", seen, f"{PAUSE}=true")


def _never_off(draft: DraftSpec) -> str:
    if draft.top_k > 1:
        return (
            f"draft.topK is {draft.top_k}, and an engine with a token tree cannot stop drafting while it runs: set "
            "draft.topK to 1, which restarts the engines, or aurora rollback"
        )
    return f"an engine with a draft of {draft.algorithm} cannot stop drafting while it runs: aurora rollback helps"


def speculation(word: str, spec: Spec, annotations: Mapping[str, str]) -> Request | Nothing:
    """Switch speculation off until it is switched on, or on."""
    off = annotations.get(SPECULATION) == OFF
    if word == OFF:
        if not spec.draft.switchable:
            return Nothing(_never_off(spec.draft))
        if off:
            return Nothing("speculation is switched off already", already=True)
    elif not off:
        return Nothing("speculation is not switched off: aurora explain says whether stable drafts", already=True)

    def seen(now: Status) -> Outcome:
        found = _condition(now, "Speculating")
        reason = "" if found is None else found.reason
        message = "" if found is None else found.message
        if word == OFF:
            if reason == "SwitchedOff":
                return Outcome("speculation is off in all engines, until aurora speculation on", True)
            return Outcome(message if reason == "SwitchingOff" else "the operator has not switched it off yet")
        if reason in {"", "SwitchedOff", "SwitchingOff"}:
            return Outcome("the operator has not switched it on yet")
        return Outcome(message, reason != "SwitchingOn")

    annotation, undo = (f"{SPECULATION}={OFF}", f"{SPECULATION}-")
    if word == OFF:
        return Request(annotation, "switching speculation off", seen, undo)
    return Request(undo, "switching speculation on", seen, annotation)
