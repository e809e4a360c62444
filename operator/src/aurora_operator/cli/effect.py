"""Asks for a change, waits until it shows, and says what came of it."""

import sys
import time
from collections.abc import Callable

from aurora_operator.cli.changes import Nothing, Outcome, Request
from aurora_operator.cli.kubectl import RESOURCE, Found, Kubectl
from aurora_operator.cli.terminal import write

_EVERY_SECONDS = 1.0
_PROGRESS_SECONDS = 10.0
"""After so long without news a line says what is waited for."""


def wait(
    request: Request, status: Callable[[], Found], seconds: float, clock: Callable[[], float] = time.monotonic
) -> Outcome | None:
    """Poll until the request's outcome is final; None where it was not within so many seconds."""
    started = said = clock()
    last = ""
    while True:
        outcome = request.seen(status().status)
        now = clock()
        if outcome.done:
            return outcome
        if now - started >= seconds:
            return None
        if outcome.message != last or now - said >= _PROGRESS_SECONDS:
            write(f"{now - started:4.0f} s  {outcome.message}")
            last, said = outcome.message, now
        time.sleep(min(_EVERY_SECONDS, max(0.0, seconds - (now - started))))


def carry_out(kubectl: Kubectl, found: Found, request: Request | Nothing, seconds: float) -> None:
    """Ends the command with 0 where what was asked for is so now, else with 1."""
    name = found.name
    if isinstance(request, Nothing):
        write(
            f"{name}: nothing to do: {request.why}" if request.already else f"{name}: nothing was done: {request.why}"
        )
        sys.exit(0 if request.already else 1)
    here = kubectl.within(found.namespace)
    here.call("annotate", "--overwrite", RESOURCE, name, request.annotation)
    if seconds <= 0:
        write(f"{name}: {request.doing} is requested; its effect was not waited for (--timeout 0)")
        return
    outcome = wait(request, lambda: here.get(name), seconds)
    if outcome is None:
        write(
            f"{name}: {request.doing} is requested and has not happened within {seconds:.0f} s. It will, once the "
            f"operator can: aurora doctor {name} says what is wrong. To take it back: "
            f"kubectl annotate specdep {name} --namespace {found.namespace} {request.undo}"
        )
        sys.exit(1)
    write(f"{name}: {outcome.message}")
    sys.exit(0 if outcome.fulfilled else 1)
