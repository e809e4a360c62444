"""Mutation testing of what decides: small faults are put into a module, one at a time, and its tests must notice.

    python benchmarks/mutation.py --area gate --mutants 40

Works on a copy of the checkout, with cosmic-ray in an environment of its own below AURORA_CACHE. Of each area's
mutants a sample is tried, chosen by --seed; a mutant that no test of the area fails on survives, and is printed as a
diff. Some survivors are no fault: a mutant can mean the same as the original.
"""

import argparse
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench import ROOT, report

sys.path.insert(0, str(ROOT / "tools"))
from workshop.cache import CACHE

COSMIC_RAY = "8.7.0"
GIT = shutil.which("git") or "git"
_SOURCES = ("operator/src", "aurora_core/src", "aurora_core/demo/src", "e2e", "tools")


@dataclass(frozen=True)
class Area:
    """What is mutated, and the tests that must notice.

    Attributes:
        path: a module or a package, from the root.
        tests: test files, from the root.
    """

    path: str
    tests: tuple[str, ...]


_PROMOTION = "operator/src/aurora_operator/promotion"
_CORE = "aurora_core/src/aurora_core"
_TESTS = "aurora_core/tests"
AREAS = {
    "gate": Area(
        f"{_PROMOTION}/gate.py",
        ("operator/tests/test_gate.py", "operator/tests/test_trial.py", "operator/tests/test_challenge.py"),
    ),
    "eprocess": Area(f"{_PROMOTION}/eprocess.py", ("operator/tests/test_eprocess.py", "operator/tests/test_gate.py")),
    "blocks": Area(f"{_PROMOTION}/blocks.py", ("operator/tests/test_blocks.py", "operator/tests/test_gate.py")),
    "budget": Area(f"{_PROMOTION}/budget.py", ("operator/tests/test_budget.py",)),
    "plan": Area(
        "operator/src/aurora_operator/reconcile/plan.py",
        ("operator/tests/test_plan.py", "operator/tests/test_plan_jobs.py"),
    ),
    "losses": Area(f"{_CORE}/losses/fused.py", (f"{_TESTS}/test_losses.py",)),
    "unroll": Area(
        f"{_CORE}/drafts/eagle3/unroll.py",
        ("aurora_core/tests/test_unroll.py", "aurora_core/tests/test_supervision.py"),
    ),
    "store": Area(
        f"{_CORE}/weights/store.py",
        (
            "aurora_core/tests/test_weights.py",
            "aurora_core/tests/test_verified.py",
            "aurora_core/tests/test_retention.py",
        ),
    ),
}


def _tool(uv: str) -> Path:
    """Cosmic-ray's command, in an environment of its own."""
    folder = CACHE / f"tools-cosmic-ray-{COSMIC_RAY}"
    command = folder / "bin" / "cosmic-ray"
    if not command.exists():
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run(
            [uv, "pip", "install", "-q", "--python", folder / "bin" / "python", f"cosmic-ray=={COSMIC_RAY}"], check=True
        )
    return command


def _copy(to: Path) -> None:
    """The checkout's files, those that git does not know yet included."""
    listed = subprocess.run(
        [GIT, "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def sample(session: Path, most: int, seed: int) -> tuple[int, int]:
    """Keep so many of a session's mutants, at random; returns how many there are left, and were."""
    with closing(sqlite3.connect(session)) as database, database:
        jobs = sorted(row[0] for row in database.execute("SELECT job_id FROM work_items"))
        kept = set(random.Random(seed).sample(jobs, min(most, len(jobs))))
        gone = [(job,) for job in jobs if job not in kept]
        database.executemany("DELETE FROM mutation_specs WHERE job_id = ?", gone)
        database.executemany("DELETE FROM work_items WHERE job_id = ?", gone)
    return len(kept), len(jobs)


def survivors(session: Path) -> tuple[list[str], int]:
    """Diffs of the mutants that no test noticed, and how many could not be tried."""
    with closing(sqlite3.connect(session)) as database:
        rows = database.execute("SELECT worker_outcome, test_outcome, diff FROM work_results").fetchall()
    lived = [diff for _, outcome, diff in rows if str(outcome).rpartition(".")[2].upper() == "SURVIVED"]
    untried = sum(str(worker).rpartition(".")[2].upper() != "NORMAL" for worker, _, _ in rows)
    return lived, untried


def run(tool: Path, area: Area, most: int, seed: int) -> tuple[int, int, int, list[str]]:
    """Try one area; returns mutants tried, mutants there are, those that could not be tried, and the survivors."""
    with tempfile.TemporaryDirectory(prefix="aurora-mutation-") as folder:
        copy, session = Path(folder) / "copy", Path(folder) / "session.sqlite"
        _copy(copy)
        sources = ":".join(str(copy / part) for part in _SOURCES)
        test = f"{sys.executable} -m pytest -x -q -p no:cacheprovider {' '.join(area.tests)}"
        config = Path(folder) / "config.toml"
        config.write_text(
            f'[cosmic-ray]\nmodule-path = "{area.path}"\ntimeout = 120.0\nexcluded-modules = []\n'
            f'test-command = "env PYTHONPATH={sources} PYTHONDONTWRITEBYTECODE=1 {test}"\n'
            '[cosmic-ray.distributor]\nname = "local"\n'
        )
        for command in (("baseline", config), ("init", config, session)):
            subprocess.run([tool, *command], cwd=copy, check=True, stdout=subprocess.DEVNULL)
        tried, there = sample(session, most, seed)
        subprocess.run([tool, "exec", config, session], cwd=copy, check=True, stdout=subprocess.DEVNULL)
        lived, untried = survivors(session)
    return tried, there, untried, lived


def _arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--area", choices=AREAS, action="append", help="which; by default all")
    parser.add_argument("--mutants", type=int, default=40, help="of each area, at most")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> None:
    """Try the areas; the last line is JSON."""
    options = _arguments()
    pinned = sorted(CACHE.glob("tools-uv-*/bin/uv"))
    uv = shutil.which("uv") or (str(pinned[-1]) if pinned else sys.exit("uv is not on the PATH"))
    tool = _tool(uv)
    figures = {}
    for name in options.area or AREAS:
        tried, there, untried, lived = run(tool, AREAS[name], options.mutants, options.seed)
        print(
            f"{name}: {tried} of {there} mutants tried, {len(lived)} survived, {untried} could not be tried", flush=True
        )
        print("\n".join(lived), flush=True)
        figures[name] = {"tried": tried, "mutants": there, "survived": len(lived), "not_tried": untried}
    report("mutation", **figures)


if __name__ == "__main__":
    main()
