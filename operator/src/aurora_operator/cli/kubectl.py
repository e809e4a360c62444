"""Kubectl as the way to the cluster: it knows the user's contexts, plugins and credentials."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Any, NamedTuple

from aurora_operator.api import GROUP, PLURAL
from aurora_operator.api.reading import read
from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Status
from aurora_operator.cli.terminal import end
from aurora_operator.errors import SpecError

RESOURCE = f"{PLURAL}.{GROUP}"
_COMMAND = "kubectl"
_SECONDS = 60.0
"""Of one call; an API server that swallows packets must not hold a command for minutes."""


class Failure(StrEnum):
    """Why kubectl did not do what it was called for."""

    UNREACHABLE = "unreachable"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NO_KIND = "no such kind"
    MISSING = "missing"
    OTHER = "failed"


_SIGNS = (
    (Failure.FORBIDDEN, r"\(Forbidden\)|is forbidden|forbidden:"),
    (Failure.UNAUTHENTICATED, r"\(Unauthorized\)|You must be logged in|provide credentials|getting credentials"),
    (Failure.NO_KIND, r"doesn't have a resource type|could not find the requested resource|no matches for kind"),
    (Failure.MISSING, r"\(NotFound\)|not found"),
    (
        Failure.UNREACHABLE,
        (
            r"connection refused|was refused|no such host|i/o timeout|Unable to connect|deadline exceeded|EOF|x509:|"
            r"no route to host|network is unreachable|TLS handshake|connection reset|the server is currently unable|"
            r"context .* does not exist|no configuration has been provided|ServiceUnavailable|\(Timeout\)"
        ),
    ),
)
_REPEATED = re.compile(r"^[EWI]\d{4} .*\.go:\d+\]")
"""A line of kubectl's own log, which says what its last line says again."""


def failure_of(text: str) -> Failure:
    """What kubectl's error output means."""
    return next((kind for kind, sign in _SIGNS if re.search(sign, text)), Failure.OTHER)


class Answer(NamedTuple):
    """What a call of kubectl gave.

    Attributes:
        out: its standard output.
        error: why it failed, without lines of its own log; empty where it did not.
        failure: the kind of that.
    """

    out: str
    error: str = ""
    failure: Failure | None = None


class Found(NamedTuple):
    """A SpeculatorDeployment, as the cluster has it and as it is understood."""

    body: dict[str, Any]
    spec: Spec
    status: Status

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.body["metadata"]["namespace"])

    @property
    def annotations(self) -> dict[str, str]:
        """Its annotations."""
        return self.body["metadata"].get("annotations") or {}


def understood(body: dict[str, Any]) -> Found:
    """A resource from its JSON; ends the command where it cannot be read."""
    try:
        reading = read(body)
    except SpecError as error:
        end(str(error))
    return Found(body, reading.spec, reading.status)


@dataclass(frozen=True)
class Kubectl:
    """Kubectl with the options of the command line.

    Attributes:
        context, kubeconfig: which cluster; the current context where empty.
        namespace: of what has one; the context's own where empty.
    """

    context: str = ""
    kubeconfig: str = ""
    namespace: str = ""

    def _arguments(self, arguments: tuple[str, ...]) -> list[str]:
        given = {"--context": self.context, "--kubeconfig": self.kubeconfig, "--namespace": self.namespace}
        return [_COMMAND, *arguments, *(f"{name}={value}" for name, value in given.items() if value)]

    def _split(self, arguments: tuple[str, ...]) -> list[str]:
        """Options come before ``--``; what follows it is the command of ``kubectl exec``."""
        at = arguments.index("--") if "--" in arguments else len(arguments)
        return [*self._arguments(arguments[:at]), *arguments[at:]]

    def attempt(self, *arguments: str) -> Answer:
        """Call kubectl; a failure is part of the answer."""
        try:
            done = subprocess.run(
                self._split(arguments), check=False, capture_output=True, text=True, errors="replace", timeout=_SECONDS
            )
        except FileNotFoundError:
            end("kubectl is not on the PATH")
        except subprocess.TimeoutExpired:
            return Answer("", f"kubectl did not end within {_SECONDS:.0f} s", Failure.UNREACHABLE)
        if done.returncode == 0:
            return Answer(done.stdout)
        lines = done.stderr.strip().splitlines()
        text = "\n".join(line for line in lines if not _REPEATED.match(line)) or done.stderr.strip()
        return Answer(done.stdout, text or f"kubectl ended with {done.returncode}", failure_of(text))

    def call(self, *arguments: str) -> str:
        """What kubectl prints; ends the command where it fails."""
        answer = self.attempt(*arguments)
        if answer.failure is not None:
            end(_explained(answer))
        return answer.out

    def get(self, name: str) -> Found:
        """A SpeculatorDeployment; ends the command where there is none."""
        return understood(json.loads(self.call("get", RESOURCE, name, "-o", "json")))

    def all(self, *, everywhere: bool) -> list[Found]:
        """All SpeculatorDeployments of the namespace, or of all namespaces."""
        where = ["--all-namespaces"] if everywhere else []
        bodies = json.loads(self.call("get", RESOURCE, *where, "-o", "json"))
        return [understood(body) for body in bodies.get("items", [bodies])]

    def within(self, namespace: str) -> "Kubectl":
        """The same cluster, in a namespace."""
        return Kubectl(self.context, self.kubeconfig, namespace)

    @contextmanager
    def stream(self, *arguments: str) -> Iterator[tuple[IO[bytes], "subprocess.Popen[bytes]"]]:
        """What kubectl prints while it does, both of its outputs as one."""
        try:
            process = subprocess.Popen(self._split(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except FileNotFoundError:
            end("kubectl is not on the PATH")
        with process:
            assert process.stdout is not None  # noqa: S101 (asked for above)
            yield process.stdout, process


_ADVICE = {
    Failure.UNREACHABLE: "the API server cannot be reached with this context; nothing was changed",
    Failure.UNAUTHENTICATED: "the API server does not accept these credentials: log in again",
    Failure.FORBIDDEN: "these credentials may not do that: ask an administrator for the right that is named",
    Failure.NO_KIND: "the CustomResourceDefinition is not installed: helm install the chart aurora-operator",
}


def _explained(answer: Answer) -> str:
    advice = _ADVICE.get(answer.failure or Failure.OTHER)
    return answer.error if advice is None else f"{answer.error}\n{advice}"
