"""The one machine that the cluster lives on: where its files are, its network, and processes by their ids."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from workshop import interrupt, process, waiting
from workshop.build import script
from workshop.cache import CACHE
from workshop.process import Processes
from workshop.progress import Progress

T = TypeVar("T")
IP, SERVICES, PODS, DNS = "10.88.0.1", "10.96.0.0/16", "10.244.0.0/24", "10.96.0.10"
REGISTRY = f"{IP}:5000"
BUILDAH = ("buildah", "--root", str(CACHE / "buildah"), "--runroot", str(CACHE / "buildah-run"),
           "--storage-driver", "overlay")  # fmt: skip
"""The store that images are built in."""


def run(*command: str, **kwargs: object) -> str:
    """Run to success and return what was printed; a signal to this process alone comes once the command has ended."""
    with interrupt.deferred():
        done = subprocess.run(command, check=False, capture_output=True, text=True, **kwargs)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def build(name: str, seconds: float, *command: str | Path) -> str:
    """Run a build script, reported while it takes time; returns the last line that it printed, which names what was built.

    Raises:
        SystemExit: it failed; with the end of its log.
    """
    progress = Progress()
    try:
        with progress.ticking(), progress.step(name, seconds) as step:
            return script(Processes(progress), step, *command)
    except process.StepError as error:
        raise SystemExit(str(error)) from None


def wait(
    what: str,
    ready: Callable[[], T | None],
    seconds: float = 90,
    every: float | Callable[[float], float] = 0.2,
    state: Callable[[], object] | None = None,
) -> T:
    """Wait until a condition is true, and return what made it so; a line every 15 s says for what."""
    try:
        return waiting.wait(what, ready, seconds, every, lambda text: print(text, flush=True), state)
    except waiting.NotInTimeError as error:
        raise SystemExit(str(error)) from None


class Host:
    """The node's processes and files."""

    def __init__(self, name: str = "aurora") -> None:
        self.name = name
        self.state = CACHE / "cluster" / f"run-{name}"
        self.socket = Path(f"/run/{name}-containerd/containerd.sock")
        self.volumes = CACHE / "cluster" / f"volumes-{name}"
        self.kubeconfig = self.state / "admin.conf"
        self.bin = Path(CACHE)

    def inside(self, *command: str) -> tuple[str, ...]:
        """A command that runs in the node's network."""
        return ("nsenter", f"--net=/run/netns/{self.name}", *command)

    def spawn(self, name: str, *command: str, env: dict[str, str] | None = None) -> None:
        """Start a process of the node, and record its id; no signal comes between the two."""
        with (self.state / "log" / f"{name}.log").open("ab") as log, interrupt.deferred():
            child = subprocess.Popen(
                self.inside(*command), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                cwd=self.state, env={**os.environ, **(env or {})},
            )  # fmt: skip
            (self.state / f"{name}.pid").write_text(str(child.pid))

    def pids(self) -> dict[str, int]:
        """Processes that were started and still run."""
        found = {path.stem: int(path.read_text()) for path in self.state.glob("*.pid")}
        return {name: pid for name, pid in found.items() if process.exists(pid)}

    def end(self, *names: str) -> None:
        """End processes by id, and wait for them to be gone."""
        pids = [pid for name, pid in self.pids().items() if name in names]
        left = process.end(process.end(pids, signal.SIGTERM, 5), signal.SIGKILL, 10)
        if left:
            raise SystemExit(f"could not end {', '.join(names)}: processes {left}")

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """kubectl as administrator."""
        command = self.inside(str(self.bin / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments)
        return run(*command, input=stdin)

    def ready(self, *arguments: str) -> bool:
        """Whether a kubectl call succeeds."""
        command = self.inside(str(self.bin / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments)
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
