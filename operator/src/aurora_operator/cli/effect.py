"""Asks for a change, waits until it shows, and says what came of it."""

import json
import sys
import time
from collections.abc import Callable

from aurora_operator.api.status import Status
from aurora_operator.cli.changes import Nothing, Outcome, Request
from aurora_operator.cli.kubectl import RESOURCE, Found, Kubectl, understood
from aurora_operator.cli.terminal import write

_EVERY_SECONDS = 1.0
_PROGRESS_SECONDS = 10.0
"""After so long without news a line says what is waited for."""


def wait(
    request: Request, read: Callable[[], Status | str], seconds: float, clock: Callable[[], float] = time.monotonic
) -> Outcome:
    """Poll until the request's outcome is final, or for so many seconds.

    Args:
        request: what was asked for.
        read: gives the status, or why it cannot be read now: an API server that is away for a moment ends no wait.
        seconds: after which the last outcome is returned, final or not.
        clock: of the seconds.
    """
    started = reported = clock()
    last = ""
    while True:
        status = read()
        outcome = Outcome(f"cannot be read now: {status}") if isinstance(status, str) else request.seen(status)
        now = clock()
        if outcome.done or now - started >= seconds:
            return outcome
        if outcome.message != last or now - reported >= _PROGRESS_SECONDS:
            write(f"{now - started:4.0f} s  {outcome.message}")
            last, reported = outcome.message, now
        time.sleep(min(_EVERY_SECONDS, max(0.0, seconds - (now - started))))


def carry_out(kubectl: Kubectl, found: Found, request: Request | Nothing, seconds: float) -> None:
    """Ends the command with 0 where what was asked for is so now, else with 1."""
    name = found.name
    if isinstance(request, Nothing):
        write(f"{name}: {'nothing to do' if request.already else 'nothing was done'}: {request.why}")
        sys.exit(0 if request.already else 1)
    here = kubectl.within(found.namespace)
    here.call("annotate", "--overwrite", RESOURCE, name, request.annotation)
    if seconds <= 0:
        write(f"{name}: {request.doing} is requested; its effect was not waited for (--timeout 0)")
        return

    def read() -> Status | str:
        answer = here.attempt("get", RESOURCE, name, "-o", "json")
        return answer.error if answer.failure is not None else understood(json.loads(answer.out)).status

    outcome = wait(request, read, seconds)
    if outcome.done:
        if request.once:
            # Left there, it would be meant for what comes later, too: the next trial of the version that it names.
            here.attempt("annotate", RESOURCE, name, request.undo)
        write(f"{name}: {outcome.message}")
        sys.exit(0 if outcome.fulfilled else 1)
    write(
        f"{name}: {request.doing} is requested and not complete after {seconds:.0f} s: {outcome.message}. The operator "
        f"continues; aurora doctor {name} says what is in its way. To withdraw what it has not done yet: "
        f"kubectl annotate specdep {name} --namespace {found.namespace} {request.undo}"
    )
    sys.exit(1)
