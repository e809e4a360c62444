"""What the commands that only read show."""

import argparse
import json
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from aurora_core.protocol.agent import VersionInfo
from rich.console import Console
from rich.live import Live
from rich.table import Table

from aurora_operator.cli import messages, plot, prometheus
from aurora_operator.cli.kubectl import Found, Kubectl
from aurora_operator.cli.terminal import cell, end, write
from aurora_operator.render.identity import INSTANCE
from aurora_operator.render.pods import DATA

_REFRESH_SECONDS = 2


def as_json(value: Any) -> None:  # noqa: ANN401 (JSON)
    """For other programs: ASCII, so that no text of others acts upon a terminal."""
    print(json.dumps(value, indent=2, ensure_ascii=True))


def _row(found: Found) -> dict[str, Any]:
    return {
        "namespace": found.namespace,
        "name": found.name,
        "mode": found.spec.mode,
        "model": found.spec.target.model,
        "suspended": found.spec.suspend,
        "status": found.status.model_dump(mode="json", by_alias=True),
    }


def _overview(found: Found) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in messages.overview(found.name, found.spec, found.status, datetime.now(UTC)):
        table.add_row(cell(name, "bold"), cell(value))
    return table


def _list(resources: list[Found]) -> Table:
    table = Table(box=None)
    for title in messages.LIST:
        table.add_column(title, no_wrap=True)
    for found in resources:
        table.add_row(*map(cell, messages.list_row(found.namespace, found.name, found.spec, found.status)))
    return table


def _plot(kubectl: Kubectl, options: argparse.Namespace) -> None:
    """Poll Prometheus through the API server where its URL is a Service's, and draw."""
    found = kubectl.get(options.name)
    if found.spec.promotion.prometheus is None:
        end("promotion.prometheus is not set, so there is nothing to draw")
    spec = found.spec.promotion.prometheus
    missing = prometheus.needs(spec)
    needs = f"; it needs {missing}, which a query from here does not send" if missing else ""

    def read(below: str) -> str:
        answer = prometheus.queried(kubectl, spec, below)
        if answer.failure is not None:
            end(f"{spec.url} cannot be queried from here: {answer.error.strip()}{needs}")
        return answer.out

    now = datetime.now(UTC)
    start = now - timedelta(hours=options.hours)
    full = f"{found.namespace}/{found.name}"
    estimates, lengths = (plot.courses(read, q, start, now) for q in plot.queries(full))
    plot.draw(options.plot, full, found.spec, found.status, estimates, lengths)
    write(str(options.plot))


def status(kubectl: Kubectl, options: argparse.Namespace) -> None:
    """What is served, what is on trial, what training does: of one resource, or a line for each."""
    if options.plot is not None:
        if options.name is None:
            end("--plot draws one deployment: name it")
        _plot(kubectl, options)
        return

    def read() -> list[Found]:
        return [kubectl.get(options.name)] if options.name else kubectl.all(everywhere=options.all_namespaces)

    def table() -> Table:
        resources = read()
        return _overview(resources[0]) if options.name else _list(resources)

    if options.output == "json":
        rows = [_row(found) for found in read()]
        as_json(rows[0] if options.name else rows)
        return
    if not options.watch:
        Console().print(table())
        return
    with Live(table(), refresh_per_second=_REFRESH_SECONDS) as live, suppress(KeyboardInterrupt):
        while True:
            time.sleep(_REFRESH_SECONDS)
            live.update(table())


def explain(kubectl: Kubectl, options: argparse.Namespace) -> None:
    """Why things are as they are."""
    found = kubectl.get(options.name)
    lines = messages.explain(found.name, found.spec, found.status, datetime.now(UTC))
    if options.output == "json":
        as_json({"namespace": found.namespace, "name": found.name, "lines": lines})
        return
    for line in lines:
        write(line)


def versions(kubectl: Kubectl, options: argparse.Namespace) -> None:
    """What is on the volume, asked in an engine pod, with what became of it."""
    found = kubectl.get(options.name)
    output = kubectl.call("exec", f"deploy/{options.name}-engine", "-c", "agent", "--",
                          "aurora-core", "versions", "--work", DATA)  # fmt: skip
    rows, unreadable = [], []
    for line in output.splitlines():
        try:
            rows.append(VersionInfo.model_validate_json(line))
        except (ValueError, RecursionError):
            unreadable.append(line)
    if options.output == "json":
        marks = [messages.version_row(one, found.status)[-1] for one in rows]
        as_json([one.model_dump(mode="json") | {"state": mark} for one, mark in zip(rows, marks, strict=True)])
        return
    for line in unreadable:
        write(f"not a version's manifest: {line[:200]}")
    table = Table(box=None)
    for title in ("version", "parent", "created", "step", "held-out", "MiB", ""):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for one in rows:
        table.add_row(*map(cell, messages.version_row(one, found.status)))
    Console().print(table)


def logs(kubectl: Kubectl, options: argparse.Namespace) -> None:
    """Those that kubectl reads, of every container of every pod."""
    # Not those of a Helm release that has the resource's name.
    chosen = ("-l", f"app.kubernetes.io/name=aurora,{INSTANCE}={options.name}", "--all-containers", "--prefix")
    arguments = (
        "logs",
        *chosen,
        "--max-log-requests=1000",
        "--tail",
        str(options.tail),
        *(("-f",) if options.follow else ()),
    )
    with kubectl.stream(*arguments) as (out, process), suppress(KeyboardInterrupt):
        for line in out:
            write(line.decode(errors="replace").rstrip("\r\n"))
    sys.exit(process.returncode)
