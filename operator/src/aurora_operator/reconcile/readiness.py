"""The condition Ready, which kstatus, ``kubectl wait``, Flux and Argo CD go by: all is as the resource says."""

from typing import Literal, NamedTuple

READY = "Ready"
Truth = Literal["True", "False", "Unknown"]


class Seen(NamedTuple):
    """An observation: whether it is true, why as one CamelCase identifier, and why in a sentence."""

    status: Truth
    reason: str
    message: str


def ready(available: Seen, storage: Seen, degraded: Seen) -> Seen:
    """Whether every replica serves on a volume that works, and nothing is wrong; else the first reason why not."""
    if degraded.status == "True":
        return Seen("False", degraded.reason, degraded.message)
    if available.status != "True" or available.reason != "AllReady":
        return Seen("False", available.reason, available.message)
    if storage.status != "True":
        return Seen(storage.status, storage.reason, storage.message)
    return Seen("True", available.reason, available.message)
