"""The one machine that the cluster lives on: where its files are, its network, and processes by their ids."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

CACHE = Path(os.environ.get("AURORA_CACHE", Path.home() / ".cache" / "aurora"))
IP, SERVICES, PODS, DNS = "10.88.0.1", "10.96.0.0/16", "10.244.0.0/24", "10.96.0.10"
REGISTRY = f"{IP}:5000"
BUILDAH = ("buildah", "--root", str(CACHE / "buildah"), "--runroot", str(CACHE / "buildah-run"),
           "--storage-driver", "overlay")  # fmt: skip
"""The store that images are built in."""


def run(*command: str, **kwargs: object) -> str:
    """Run to success and return what was printed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, **kwargs)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def build(*command: str | Path) -> str:
    """Run a build script, its progress shown; returns the last line that it printed, which names what was built.

    What Go fetches and compiles on the way stays in the cache's folder, with everything else.
    """
    environment = {**os.environ, "GOPATH": str(CACHE / "go"), "GOCACHE": str(CACHE / "go" / "build")}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return done.stdout.strip().splitlines()[-1]


def wait(what: str, ready: Callable[[], object], seconds: float = 90, every: float = 0.2) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


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
        """Start a process of the node, and remember its id."""
        log = (self.state / "log" / f"{name}.log").open("ab")
        child = subprocess.Popen(
            self.inside(*command), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            cwd=self.state, env={**os.environ, **(env or {})},
        )  # fmt: skip
        (self.state / f"{name}.pid").write_text(str(child.pid))

    def pids(self) -> dict[str, int]:
        """Processes that were started and still run."""
        found = {path.stem: int(path.read_text()) for path in self.state.glob("*.pid")}
        return {name: pid for name, pid in found.items() if Path(f"/proc/{pid}").exists()}

    def end(self, *names: str) -> None:
        """End processes by id, and wait for them to be gone."""
        pids = [pid for name, pid in self.pids().items() if name in names]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

        def gone() -> bool:
            for pid in pids:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            return not any(Path(f"/proc/{pid}").exists() for pid in pids)

        deadline = time.monotonic() + 5
        while not gone() and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait(f"the end of {', '.join(names)}", gone, 10)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """kubectl as administrator."""
        command = self.inside(str(self.bin / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments)
        return run(*command, input=stdin)

    def ready(self, *arguments: str) -> bool:
        """Whether a kubectl call succeeds."""
        command = self.inside(str(self.bin / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments)
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
