"""The command line ``aurora``, also as ``kubectl aurora`` (install the package, and kubectl finds it)."""

import argparse
import json
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from aurora_core.protocol.agent import VersionInfo
from rich.console import Console
from rich.live import Live
from rich.table import Table

from aurora_operator.api import GROUP, PLURAL
from aurora_operator.api.reading import read
from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Status
from aurora_operator.cli import messages, plot
from aurora_operator.cli.terminal import cell, end, write
from aurora_operator.clients import nesting
from aurora_operator.errors import SpecError
from aurora_operator.promotion.trial import PAUSE, PROMOTE, REJECT, ROLL_BACK
from aurora_operator.render.pods import DATA


def _kubectl(*arguments: str) -> str:
    """Kubectl knows the user's contexts, plugins and credentials; nothing here needs to."""
    try:
        done = subprocess.run(["kubectl", *arguments], check=False, capture_output=True, text=True, errors="replace")  # noqa: S607 (PATH)
    except FileNotFoundError:
        end("kubectl is not on the PATH")
    if done.returncode:
        end(done.stderr.strip())
    return done.stdout


def _scope(options: argparse.Namespace) -> list[str]:
    return ["-n", options.namespace] if options.namespace else []


def _get(options: argparse.Namespace) -> tuple[Spec, Status]:
    body: dict[str, Any] = json.loads(
        _kubectl("get", f"{PLURAL}.{GROUP}", options.name, *_scope(options), "-o", "json")
    )
    try:
        reading = read(body)
    except SpecError as error:
        end(str(error))
    return reading.spec, reading.status


def _table(options: argparse.Namespace) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in messages.overview(options.name, *_get(options), datetime.now(UTC)):
        table.add_row(cell(name, "bold"), cell(value))
    return table


def _plot(options: argparse.Namespace) -> None:
    """Ask Prometheus through the API server where its URL is a Service's, and draw."""
    spec, status = _get(options)
    if spec.promotion.prometheus is None:
        end("promotion.prometheus is not set, so there is nothing to draw")
    url = spec.promotion.prometheus.url
    path = plot.proxy_path(url)

    def read(below: str) -> str:
        if path is not None:
            return _kubectl("get", "--raw", path + below)
        try:
            return httpx.get(url + below, timeout=30).raise_for_status().text
        except httpx.HTTPError as error:
            end(str(error))

    now = datetime.now(UTC)
    start = now - timedelta(hours=options.hours)
    namespace = options.namespace or _kubectl("config", "view", "--minify", "-o", "jsonpath={..namespace}") or "default"
    estimates, lengths = (plot.courses(read, q, start, now) for q in plot.queries(f"{namespace}/{options.name}"))
    plot.draw(options.plot, f"{namespace}/{options.name}", spec, status, estimates, lengths)
    write(str(options.plot))


def _status(options: argparse.Namespace) -> None:
    if options.plot is not None:
        _plot(options)
        return
    if not options.watch:
        Console().print(_table(options))
        return
    with Live(_table(options), refresh_per_second=2) as live:
        while True:
            time.sleep(2)
            live.update(_table(options))


def _explain(options: argparse.Namespace) -> None:
    spec, status = _get(options)
    for line in messages.explain(options.name, spec, status, datetime.now(UTC)):
        write(line)


def _versions(options: argparse.Namespace) -> None:
    """What is on the volume, asked in an engine pod, with what became of it."""
    _, status = _get(options)
    output = _kubectl("exec", f"deploy/{options.name}-engine", *_scope(options), "-c", "agent", "--",
                    "aurora-core", "versions", "--work", DATA)  # fmt: skip
    table = Table(box=None)
    for title in ("version", "parent", "created", "step", "held-out", "MiB", ""):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for line in output.splitlines():
        try:
            row = messages.version_row(VersionInfo.model_validate_json(line), status)
        except (ValueError, RecursionError):
            write(f"not a version's manifest: {line[:200]}")
            continue
        table.add_row(*map(cell, row))
    Console().print(table)


def _logs(options: argparse.Namespace) -> None:
    """Those that kubectl reads, of every container of every pod."""
    chosen = [
        "-l",
        f"app.kubernetes.io/instance={options.name}",
        "--all-containers",
        "--prefix",
        "--max-log-requests=64",
    ]
    follow = ["-f"] if options.follow else []
    arguments = ["kubectl", "logs", *_scope(options), *chosen, "--tail", str(options.tail), *follow]
    try:
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError:
        end("kubectl is not on the PATH")
    with process, suppress(KeyboardInterrupt):
        for line in process.stdout or ():
            write(line.decode(errors="replace").rstrip("\r\n"))
    sys.exit(process.returncode)


def _annotate(options: argparse.Namespace, annotation: str) -> None:
    target = f"{PLURAL}.{GROUP}/{options.name}"
    _kubectl("annotate", "--overwrite", target, *_scope(options), annotation)


def _hold(options: argparse.Namespace) -> None:
    """End the trial without a verdict and begin none, or resume."""
    _annotate(options, f"{PAUSE}=true" if options.command == "pause" else f"{PAUSE}-")
    write(f"{options.name}: {options.command}")


def _decide(options: argparse.Namespace) -> None:
    """Promote or reject the candidate; roll the stable version back."""
    _, status = _get(options)
    if options.command == "rollback":
        if status.stable is None or status.stable.previous is None:
            end("there is no version before the stable one")
        _annotate(options, f"{ROLL_BACK}={status.stable.version}")
        write(f"version {status.stable.version} goes back to {status.stable.previous}")
        return
    if status.candidate is None:
        end("there is no candidate")
    word = PROMOTE if options.command == "promote" else REJECT
    _annotate(options, f"{word}={status.candidate.version}")
    write(f"version {status.candidate.version}: {options.command}")


def _doctor(options: argparse.Namespace) -> None:
    """What is missing, each with what to do."""
    ready = ("-l", "app.kubernetes.io/name=aurora-operator", "-o", "jsonpath={.items[0].status.readyReplicas}")
    first = ("-o", "jsonpath={.items[0].metadata.name}")
    gpus = ("-o", "jsonpath={.items[*].status.allocatable.nvidia\\.com/gpu}")
    checks = [
        ("CustomResourceDefinition", ("crd", f"{PLURAL}.{GROUP}"), "helm install the chart aurora-operator"),
        ("operator", ("deployment", "-A", *ready), "its Deployment is missing or not ready: see its pod's log"),
        ("storage class", ("storageclass", *first), "there is none: name an existing claim in weights.claimName"),
    ]
    found = _get(options) if options.name else None
    if found is None or "cuda" in {found[0].serving.device, found[0].training.device}:
        remedy = "no node offers nvidia.com/gpu: install the device plugin, or set device: cpu"
        checks.append(("GPUs", ("nodes", *gpus), remedy))
    bad = 0
    for name, arguments, remedy in checks:
        command = ["kubectl", "get", *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
        fine = done.returncode == 0 and bool(done.stdout.strip())
        bad += not fine
        write(f"{'ok     ' if fine else 'MISSING'} {name}" + ("" if fine else f": {remedy}"))
    for one in found[1].conditions if found else ():
        good = messages.is_fine(one)
        bad += not good
        write(f"{'ok     ' if good else 'CHECK  '} {one.type}: {one.reason} {one.message}")
    sys.exit(1 if bad else 0)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="aurora", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run, text in (
        ("status", _status, "what is served, what is on trial, what training does"),
        ("versions", _versions, "the versions on the volume, and what became of each"),
        ("logs", _logs, "the logs of engines, agents, trainer and init"),
        ("explain", _explain, "why the candidate is not promoted yet, and how much traffic that needs"),
        ("promote", _decide, "make the candidate stable now, without proof"),
        ("reject", _decide, "end the candidate's trial"),
        ("rollback", _decide, "go back to the stable version before"),
        ("pause", _hold, "stop deciding: ends the trial without a verdict and begins no other"),
        ("resume", _hold, "resume promotion"),
        ("doctor", _doctor, "check cluster, operator, storage and GPUs"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("name", nargs="?" if name == "doctor" else None, help="SpeculatorDeployment")
        command.add_argument("-n", "--namespace")
        if name == "status":
            command.add_argument("-w", "--watch", action="store_true", help="keep showing")
            command.add_argument("--plot", type=Path, metavar="FILE.png", help="draw estimate and interval over time")
            command.add_argument("--hours", type=float, default=1.0, help="how far back the picture reaches")
        if name == "logs":
            command.add_argument("-f", "--follow", action="store_true", help="follow new lines")
            command.add_argument("--tail", type=int, default=50, help="lines of each to begin with")
        command.set_defaults(run=run)
    options = parser.parse_args()
    nesting.guard()
    options.run(options)


if __name__ == "__main__":
    main()
