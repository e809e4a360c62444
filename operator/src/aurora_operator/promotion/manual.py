"""What a person asked for through annotations."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Candidate, Stable
from aurora_operator.promotion.progress import Progress, Published
from aurora_operator.promotion.statistics import ends

PROMOTE, REJECT, ROLL_BACK, PAUSE, SPECULATION = (
    f"aurora-operator.io/{word}" for word in ("promote", "reject", "rollback", "pause", "speculation")
)
"""Annotations by which a person decides. The value of the first three is the version that is meant, so that each acts
once; that of a rollback may name where to, as ``stable:target``. Any value of ``pause`` but ``false`` pauses all
trials, and the value ``off`` of ``speculation`` keeps engines from drafting, until it is removed."""
OFF = "off"


def is_paused(annotations: Mapping[str, str]) -> bool:
    """Whether a person has paused all trials."""
    return annotations.get(PAUSE, "false") != "false"


def switched_off(spec: Spec, annotations: Mapping[str, str]) -> bool:
    """Whether a person keeps speculation off; not every draft can be switched off while the engine runs."""
    return annotations.get(SPECULATION) == OFF and spec.draft.switchable


def rollback_target(
    spec: Spec,
    stable: Stable,
    decided: int,
    annotations: Mapping[str, str],
    versions: Sequence[Published] | None,
    now: datetime,
) -> Stable | str | None:
    """What a person wants stable to be; never a version that was not tried yet, such as one that comes much later.

    Returns:
        The new stable; or why it cannot be; or None where nobody asked, or it was done already.
    """
    meant, colon, target = annotations.get(ROLL_BACK, "").partition(":")
    if meant != str(stable.version) or target == meant or (colon and not target):
        return None
    if not target:
        return None if stable.previous is None else before(stable, now)
    if stable.previous is not None and target == str(stable.previous):
        return before(stable, now)
    found = next((one for one in versions or () if str(one.version) == target), None)
    if found is None:
        return f"no rollback to version {target[:20]}: the volume does not have it"
    if found.version > max(decided, stable.version):
        return f"no rollback to version {found.version}: it had no verdict yet, kubectl aurora promote is for that"
    drafts = found.version > 0 or not spec.day_zero
    steps = spec.draft.num_steps if drafts else 0
    back = Stable(version=found.version, steps=steps, digest=found.digest or None, since=now, checked=stable.checked)
    return back.model_copy(update={"recheck_after": stable.recheck_after})


def before(stable: Stable, now: datetime) -> Stable:
    """The stable version before, as it was served; ``stable.previous`` must be known."""
    assert stable.previous is not None  # noqa: S101 (callers checked)
    back = Stable(version=stable.previous, steps=stable.previous_steps or 0, since=now, checked=stable.checked)
    return back.model_copy(update={"recheck_after": stable.recheck_after})


def waiting(at: Progress, candidate: Candidate) -> Progress:
    """Strategy Manual: a person decides, by what was measured so far."""
    found = candidate
    measured = f"nothing is measured so far ({found.verdict}); without promotion.prometheus nothing will be"
    if found.estimate is not None:
        interval = ends(found.lower, found.upper)
        measured = f"{found.verdict}, {found.estimate:.3f} times stable ({interval}) in {found.blocks} blocks"
    message = f"version {found.version} waits for kubectl aurora promote or reject: {measured}"
    return replace(at, reason="WaitingForApproval", message=message)
