"""Whether engines draft, as a condition, and what a person's switch does to them."""

from collections.abc import Sequence
from typing import Literal

from aurora_operator.api.status import Condition, Status
from aurora_operator.promotion.manual import OFF, SPECULATION, switched_off
from aurora_operator.promotion.progress import Note, Progress
from aurora_operator.reconcile.snapshot import Snapshot

Truth = Literal["True", "False", "Unknown"]
CONDITION = "Speculating"
SWITCHED_OFF, SWITCHING_OFF = "SwitchedOff", "SwitchingOff"


def is_switched_off(snapshot: Snapshot) -> bool:
    """Whether engines must run with 0 draft steps, whatever stable has."""
    return switched_off(snapshot.spec, snapshot.body["metadata"].get("annotations") or {})


def steps(snapshot: Snapshot, desired: int) -> int:
    """Draft steps of an engine."""
    return 0 if is_switched_off(snapshot) else desired


def _switched_off(drafting: int, reported: int) -> tuple[Truth, str, str]:
    if drafting:
        return "True", SWITCHING_OFF, f"{drafting} of {reported} engines still draft"
    return "False", SWITCHED_OFF, f"annotation {SPECULATION} is {OFF}: kubectl aurora speculation on ends it"


def speculating(snapshot: Snapshot, progress: Progress) -> tuple[Truth, str, str]:
    """Status, reason and message of the condition."""
    reported = [pod for pod in snapshot.pods if pod.steps is not None]
    drafting = sum(bool(pod.steps) for pod in reported)
    stable = progress.stable
    asked = (snapshot.body["metadata"].get("annotations") or {}).get(SPECULATION) == OFF
    if is_switched_off(snapshot):
        return _switched_off(drafting, len(reported))
    if progress.provisional:
        return "Unknown", "Starting", "no agent has reported yet which versions the volume has"
    if not stable.steps:
        early = stable.version == 0
        return "False", *(
            ("NoDraftYet", "no draft was promoted yet") if early else ("TargetOnly", "target-only is stable")
        )
    if asked:
        text = f"annotation {SPECULATION} has no effect: with a token tree or a block an engine cannot stop drafting"
        return "True", "CannotSwitchOff", text
    if reported and not drafting and progress.candidate is None:
        return "False", "SwitchingOn", f"stable has {stable.steps} draft steps, and no engine drafts yet"
    return "True", "Drafting", f"stable drafts {stable.steps} tokens per verify cycle"


def notes(before: Status, after: Sequence[Condition]) -> tuple[Note, ...]:
    """Events of a person's switch."""

    def off(conditions: Sequence[Condition]) -> bool:
        return any(one.type == CONDITION and one.reason in {SWITCHED_OFF, SWITCHING_OFF} for one in conditions)

    if off(after) and not off(before.conditions):
        return (Note("Warning", "SpeculationSwitchedOff", "engines run with 0 draft steps until it is switched on"),)
    if off(before.conditions) and not off(after):
        return (Note("Normal", "SpeculationSwitchedOn", "engines draft as stable does; promotion resumes"),)
    return ()
