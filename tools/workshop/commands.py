"""The commands: test, quickstart, loop, unit, cluster, and benchmarks that need a node."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from workshop import build
from workshop.cache import CACHE, ROOT
from workshop.chart import upgrade
from workshop.environment import CONTRIBUTOR, complete, make_complete, make_contributor
from workshop.process import StepError
from workshop.session import Session, terminal_colours
from workshop.tasks import Task, Tasks

NODE = ROOT / "e2e" / "cluster" / "node.py"
INSTALL = ROOT / "e2e" / "cluster" / "install.py"
MACHINE = ROOT / "e2e" / "machine.py"


def _environment(session: Session) -> Path:
    """Let every later step find the environment's commands; returns their folder."""
    folder = complete() / "bin"
    path = f"{folder}:{session.processes.environment['PATH']}"
    shared = os.pathsep.join(str(ROOT / part) for part in ("tools", "e2e", "e2e/cluster"))
    session.processes.environment |= {"AURORA_CACHE": str(CACHE), "PATH": path, "PYTHONPATH": shared}
    session.processes.environment |= terminal_colours()
    # AURORA_CPU=avx2: everything computes as on a CPU without AVX-512 and bf16 units.
    emulated = subprocess.run([sys.executable, MACHINE], check=False, capture_output=True, text=True)
    if emulated.returncode:
        raise StepError(emulated.stderr.strip())
    session.processes.environment |= dict(pair.split("=", 1) for pair in emulated.stdout.split())
    return folder


def _stage(session: Session, name: str, seconds: float, *command: str | Path) -> None:
    with session.progress.step(name, seconds, shown=True) as step:
        session.processes.shown(step, *command)


def _built(session: Session, *, node: bool, evidence: bool = False) -> Tasks:
    tasks = Tasks.start(build.tasks(session.processes, node=node, evidence=evidence), session.progress)
    session.closing.append(tasks.close)
    return tasks


def _node(session: Session, *, api_only: bool = False) -> None:
    """Start a node, or its API server alone, and stop it at the end of the command."""
    session.cleanups.append(lambda: _stop_node(session))
    name, seconds, more = ("API server", 15, ["--api-only"]) if api_only else ("node", 45, [])
    _stage(session, name, seconds, NODE, "start", *more)


def _stop_node(session: Session) -> None:
    done = subprocess.run([sys.executable, NODE, "stop"], check=False, capture_output=True, text=True)
    if done.returncode:
        session.progress.line(f"the node did not stop cleanly: {done.stdout}{done.stderr}")


def test(session: Session, arguments: Sequence[str]) -> None:
    """Every check in order, the quick ones first; stops at the first that fails."""
    lint = list(arguments) == ["lint"]
    tasks = _built(session, node=not lint, evidence=True)
    tasks.join("environment")
    folder = _environment(session)
    _stage(session, "lint", 1, "ruff", "check", ".")
    _stage(session, "format", 1, "ruff", "format", "--check", ".")
    _stage(session, "vocabulary", 2, "python", "tools/vocabulary.py")
    _stage(session, "types", 20, "mypy")
    _stage(session, "import contracts", 1, "lint-imports")
    _stage(session, "generated files", 1, "python", "tools/generate.py", "--check")
    if lint:
        return
    # What compiles would take from the tests the processor that their deadlines count on.
    tasks.join()
    _stage(session, "unit tests of the tools", 20, "pytest", "-q", "tools/tests")
    core = ("aurora_core/tests", "aurora_core/sgl_kernel_cpu/tests", "aurora_core/demo/tests")
    _stage(session, "unit tests of the loop", 65, "pytest", "-q", "-n", "2", *core)
    _stage(session, "unit tests of the operator", 35, "pytest", "-q", "-n", "2", "operator/tests")
    # It waits for scrapes most of the time.
    evidence = ("pytest", "-v", "-n", "4", "e2e/evidence")
    shown = session.processes.shown
    task = Task("evidence from a real Prometheus", 130, lambda step: shown(step, *evidence, at_end=True))
    beside = Tasks.start([task], session.progress)
    session.closing.append(beside.close)
    _node(session, api_only=True)
    apiserver = (NODE, "enter", folder / "pytest", "-v", "e2e/apiserver", "-m")
    several = ("not exclusive", "-n", "2", "--dist", "loadfile")
    _stage(session, "API-server tests, side by side", 325, *apiserver, *several)
    beside.join()
    _stage(session, "API-server tests, one by one", 75, *apiserver, "exclusive")
    _stop_node(session)
    _stage(session, "real engine", 480, "pytest", "-v", "--durations", "12", "e2e/engine")
    _node(session)
    _stage(session, "product on the node", 120, INSTALL)
    _stage(session, "node tests", 1600, NODE, "enter", folder / "pytest", "-v", "--durations", "20", "e2e/onnode")


def quickstart(session: Session, arguments: Sequence[str]) -> None:
    """The README's main command: the product on a cluster, from kubectl apply to a promoted draft.

    CLUSTER=local (default): a real node on this machine, started for it and stopped at the end unless KEEP=1.
    CLUSTER=kind: a kind cluster, made where it does not exist and left running (`make cluster-stop` ends it).
    CLUSTER=current: the current kube context, with the operator and a Prometheus installed.
    DASHBOARDS=FOLDER: draw the Grafana dashboards of the run there, at its end.
    """
    where = os.environ.get("CLUSTER") or "local"
    if where not in {"local", "kind", "current"}:
        message = f"CLUSTER={where} is not known: local, kind or current"
        raise StepError(message)
    tasks = _built(session, node=where == "local")
    command: list[str | Path] = ["python", ROOT / "e2e" / "quickstart.py"]
    if os.environ.get("DASHBOARDS"):
        command += ["--dashboards", os.environ["DASHBOARDS"]]
    if where == "local":
        session.leave = os.environ.get("KEEP") == "1"
        tasks.join("environment", "Kubernetes components")
        folder = _environment(session)
        _node(session)
        tasks.join()
        _stage(session, "product on the node", 120, INSTALL)
        command = [NODE, "enter", folder / "python", *command[1:]]
    else:
        session.leave = True
        tasks.join()
        _environment(session)
        command.append("--forward")
    if where == "kind":
        _stage(session, "kind cluster", 120, ROOT / "tools" / "cluster.sh", "start")
        _stage(session, "product on it", 600, ROOT / "tools" / "cluster.sh", "install")
        # Its storage class makes volumes for one node, and it has one.
        command += ["--access-mode", "ReadWriteOnce"]
        name = os.environ.get("KIND_CLUSTER") or "aurora"
        session.processes.environment["KUBECONFIG"] = str(CACHE / f"kind-{name}.conf")
    _stage(session, "quickstart", 900, *command, *arguments)


def loop(session: Session, arguments: Sequence[str]) -> None:
    """The learning loop without Kubernetes, as processes on this machine. Arguments go to `aurora-demo loop`."""
    _built(session, node=False).join()
    _environment(session)
    config = ("--config", "examples/smollm2.yaml", "--work", "work")
    _stage(session, "loop", 1500, "aurora-demo", "loop", *config, *arguments)


def online(session: Session, arguments: Sequence[str]) -> None:
    """The same loop in mode Online, in one Ray cluster on this machine. Arguments go to `aurora-demo loop`."""
    loop(session, ("--online", *arguments))


def benchmark(session: Session, arguments: Sequence[str]) -> None:
    """benchmarks/NAME.py in the network of a node, or with --api-only of an API server, that is started for it."""
    _beside_a_node(session, arguments, lambda name: [ROOT / "benchmarks" / f"{name}.py"])


def soak(session: Session, arguments: Sequence[str]) -> None:
    """benchmarks/soak/NAME.py, in the same way."""
    _beside_a_node(session, arguments, lambda name: ["-m", f"soak.{name}"])


def _beside_a_node(session: Session, arguments: Sequence[str], program: Callable[[str], Sequence[str | Path]]) -> None:
    api_only = "--api-only" in arguments
    name, *rest = [argument for argument in arguments if argument != "--api-only"]
    tasks = _built(session, node=True)
    tasks.join()
    folder = _environment(session)
    session.processes.environment["PYTHONPATH"] += f"{os.pathsep}{ROOT / 'benchmarks'}"
    _node(session, api_only=api_only)
    if not api_only:
        _stage(session, "product on the node", 120, INSTALL)
    _stage(session, name, 600, NODE, "enter", folder / "python", *program(name), *rest)


def unit(session: Session, arguments: Sequence[str]) -> None:
    """Unit tests in a contributor's environment: the operator's needs no torch, what tests the core has it."""
    chosen = list(arguments) or ["operator/tests"]
    name = "operator" if all(path.startswith(("operator", "tools", "-")) for path in chosen) else "core"
    folder = _contributor(session, name)
    session.processes.environment["PATH"] = f"{folder}:{session.processes.environment['PATH']}"
    more: list[str] = []
    if name == "core":
        session.progress.line("without SGLang, which `make test` has: its contract and the CPU operators are left out")
        ignored = ("test_sglang_contract.py", "test_cpu_products.py")
        more = ["-m", "not sglang", *(f"--ignore=aurora_core/tests/{name}" for name in ignored)]
    _stage(session, f"unit tests {' '.join(chosen)}", 30, folder / "python", "-m", "pytest", "-q", *more, *chosen)


def _contributor(session: Session, name: str) -> Path:
    with session.progress.step(f"environment of the {name}", 60) as step:
        return make_contributor(session.processes, step, name)


def dev(session: Session, arguments: Sequence[str]) -> None:
    """A contributor's environment: `operator` (default) or `core`."""
    name = next(iter(arguments), "operator")
    if name not in CONTRIBUTOR:
        message = f"{name} is not known: {' or '.join(CONTRIBUTOR)}"
        raise StepError(message)
    folder = _contributor(session, name)
    session.progress.line(f". {folder / 'activate'}")


def chart(session: Session, arguments: Sequence[str]) -> None:
    """The operator on the cluster that KUBECONFIG names. Arguments: registry and tag of the images."""
    registry, tag = arguments
    _stage(session, "operator's chart", 60, *upgrade(registry, tag))


def environment(session: Session, _arguments: Sequence[str]) -> None:
    """The complete, locked environment; prints its folder of commands on stdout, and all else on stderr."""
    session.progress.out = sys.stderr
    with session.progress.step("environment", 180) as step:
        make_complete(session.processes, step)
    session.progress.rows.clear()
    print(complete() / "bin")  # noqa: T201 (for scripts)
