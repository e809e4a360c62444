"""A support bundle: what a maintainer needs to see, as a tar.gz without Secrets."""

import io
import json
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aurora_operator.cli import doctor, redaction
from aurora_operator.cli.kubectl import RESOURCE, Answer, Failure, Found, Kubectl
from aurora_operator.render.identity import INSTANCE

_KINDS = {
    "pods": "Pod",
    "deployments.apps": "Deployment",
    "replicasets.apps": "ReplicaSet",
    "jobs.batch": "Job",
    "services": "Service",
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "poddisruptionbudgets.policy": "PodDisruptionBudget",
    "configmaps": "ConfigMap",
}
"""Secrets are not among them, and are never asked for."""
_README = """What `aurora report` collected at {time}.

Secrets were not read. What resembles a credential in logs, environments and arguments was replaced by {removed}. Read
it before you pass it on: logs may quote requests of users. A file *.error says why something is missing.
"""


def _files_of(folder: str, name: str, answer: Answer) -> Iterator[tuple[str, str]]:
    if answer.failure is not None:
        yield f"{folder}/{name}.error", redaction.text(answer.error)
        return
    try:
        yield f"{folder}/{name}", json.dumps(redaction.tree(json.loads(answer.out)), indent=1)
    except (ValueError, RecursionError):
        yield f"{folder}/{name}", redaction.text(answer.out)


def _logs(kubectl: Kubectl, folder: str, pods: list[dict[str, Any]], lines: int) -> Iterator[tuple[str, str]]:
    for pod in pods:
        name = pod["metadata"]["name"]
        statuses = pod.get("status", {})
        for one in (*statuses.get("initContainerStatuses", ()), *statuses.get("containerStatuses", ())):
            runs = [("", ())] if not one.get("restartCount") else [("", ()), ("-previous", ("--previous",))]
            for suffix, more in runs:
                answer = kubectl.attempt("logs", name, "-c", one["name"], f"--tail={lines}", "--timestamps", *more)
                file = f"{folder}/logs/{name}-{one['name']}{suffix}.log"
                if answer.failure is None:
                    yield file, redaction.text(answer.out)
                else:
                    yield f"{file}.error", redaction.text(answer.error)


def _items(answer: Answer) -> list[dict[str, Any]]:
    if answer.failure is not None:
        return []
    try:
        return list(json.loads(answer.out)["items"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _events(answer: Answer, prefix: str) -> Answer:
    """Those of objects whose name is the resource's, or begins with it."""
    if answer.failure is not None:
        return answer
    mine = [
        one
        for one in _items(answer)
        if str((one.get("involvedObject") or {}).get("name", "")).split(".")[0] == prefix
        or str((one.get("involvedObject") or {}).get("name", "")).startswith(f"{prefix}-")
    ]
    return Answer(json.dumps({"items": mine}))


def _objects(kubectl: Kubectl, name: str) -> Iterator[tuple[str, Answer]]:
    """Each kind and what there is of it: in one call, or one of each kind where some may not be read."""
    chosen = ("-l", f"app.kubernetes.io/name=aurora,{INSTANCE}={name}", "-o", "json")
    all_kinds = kubectl.attempt("get", ",".join(_KINDS), *chosen)
    if all_kinds.failure is None:
        for plural, kind in _KINDS.items():
            items = [one for one in _items(all_kinds) if one.get("kind") == kind]
            yield plural, Answer(json.dumps({"items": items}))
        return
    for plural in _KINDS:
        yield plural, kubectl.attempt("get", plural, *chosen)


def _of_resource(kubectl: Kubectl, found: Found, lines: int) -> Iterator[tuple[str, str]]:
    here, folder = kubectl.within(found.namespace), f"{found.namespace}/{found.name}"
    yield f"{folder}/resource.json", json.dumps(redaction.tree(found.body), indent=1)
    for kind, answer in _objects(here, found.name):
        yield from _files_of(folder, f"{kind.partition('.')[0]}.json", answer)
        if kind == "pods":
            yield from _logs(here, folder, _items(answer), lines)
    yield from _files_of(folder, "events.json", _events(here.attempt("get", "events", "-o", "json"), found.name))
    results = [check.row() for check in doctor.checks(here, found.name)]
    yield f"{folder}/doctor.json", redaction.text(json.dumps(results, indent=1))


def _of_operator(kubectl: Kubectl, lines: int) -> Iterator[tuple[str, str]]:
    chosen = ("--all-namespaces", "-l", "app.kubernetes.io/name=aurora-operator", "-o", "json")
    pods = kubectl.attempt("get", "pods", *chosen)
    yield from _files_of("operator", "pods.json", pods)
    yield from _files_of("operator", "deployments.json", kubectl.attempt("get", "deployments.apps", *chosen))
    for pod in _items(pods):
        yield from _logs(kubectl.within(pod["metadata"]["namespace"]), "operator", [pod], lines)


def files(kubectl: Kubectl, resources: list[Found], lines: int, now: datetime) -> Iterator[tuple[str, str]]:
    """Name and text of each file of a bundle."""
    yield "README", _README.format(time=now.isoformat(timespec="seconds"), removed=redaction.REMOVED)
    yield from _files_of(".", "version.json", kubectl.attempt("version", "-o", "json"))
    crd = kubectl.attempt("get", "crd", RESOURCE, "-o", "jsonpath={.metadata}")
    if crd.failure is not Failure.FORBIDDEN:
        yield from _files_of(".", "crd.json", crd)
    yield from _of_operator(kubectl, lines)
    for found in resources:
        yield from _of_resource(kubectl, found, lines)


def write_bundle(path: Path, contents: Iterator[tuple[str, str]], now: datetime) -> list[str]:
    """Write a bundle; its members have the owner's rights alone, and so has the file.

    Returns:
        Names of its files.
    """
    names = []
    path.touch(mode=0o600, exist_ok=True)
    with tarfile.open(path, "w:gz") as bundle:
        for name, content in contents:
            data = content.encode(errors="replace")
            member = tarfile.TarInfo(f"aurora-report/{name.removeprefix('./')}")
            member.size, member.mode, member.mtime = len(data), 0o600, int(now.timestamp())
            bundle.addfile(member, io.BytesIO(data))
            names.append(member.name)
    return names


def default_name(now: datetime) -> Path:
    """Where a bundle is written, by default."""
    return Path(f"aurora-report-{now.astimezone(UTC):%Y%m%d-%H%M%S}.tar.gz")
