"""What is fetched, compiled and built for a node: as tasks, so that it happens side by side."""

from pathlib import Path

from workshop import packages
from workshop.cache import CACHE, ROOT
from workshop.environment import make_complete
from workshop.process import Processes
from workshop.progress import Step
from workshop.tasks import Task

REGISTRY = "10.88.0.1:5000"
"""The local node's."""
COMPONENTS = ROOT / "e2e" / "cluster" / "components" / "build.sh"
PROMETHEUS = ROOT / "e2e" / "cluster" / "prometheus" / "build" / "build.sh"
VICTORIA = ROOT / "e2e" / "evidence" / "victoria" / "build.sh"
KUBERAY = ROOT / "e2e" / "cluster" / "kuberay" / "build.sh"
ROUTES = ROOT / "e2e" / "cluster" / "routes" / "build.sh"
IMAGES = ROOT / "images" / "build.sh"
GO = {
    "GOPATH": str(CACHE / "go"),
    "GOCACHE": str(CACHE / "go" / "build"),
    # The compiler collects its memory less often: 17 % less processor time for 20 % more memory, measured on net/http
    # and what it needs (21.9 for 26.4 s, 364 for 303 MB; go 1.26.8, 2 cores, 2026-11-26).
    "GOGC": "300",
}
"""What Go fetches and compiles on the way stays in the cache's folder, with everything else."""


def script(processes: Processes, step: Step, *command: str | Path) -> str:
    """Run a build script; returns the last line that it printed, which names what was built."""
    out = processes.logged(step, *command, AURORA_CACHE=str(CACHE), **GO)
    return out.strip().splitlines()[-1]


def tasks(processes: Processes, *, node: bool, evidence: bool) -> list[Task]:
    """The environment; for a node also components, Prometheus and images; and what only tests need.

    Compiling takes the processor, installing and building images mostly network and disk: these run side by side, while
    one Go program is compiled after the other.
    """
    every = packages.NODE if node else ()

    def system(step: Step) -> None:
        packages.install((*packages.ENVIRONMENT, *every), lambda *command: processes.logged(step, *command))

    found = [
        Task("system packages", 60, system),
        Task("environment", 180, lambda step: make_complete(processes, step), ("system packages",)),
    ]
    compiled = "system packages"
    if node:

        def go(name: str, seconds: float, path: Path) -> None:
            nonlocal compiled
            found.append(Task(name, seconds, lambda step: _script(processes, step, path), (compiled,)))
            compiled = name

        go("Kubernetes components", 500, COMPONENTS)
        go("Prometheus", 90, PROMETHEUS)
        if evidence:
            go("VictoriaMetrics", 30, VICTORIA)
            go("KubeRay", 60, KUBERAY)
            go("CRDs of routes", 5, ROUTES)
        found.append(
            Task("images", 300, lambda step: _script(processes, step, IMAGES, REGISTRY), ("environment",))
        )  # fmt: skip
    return found


def _script(processes: Processes, step: Step, *command: str | Path) -> None:
    script(processes, step, *command)
