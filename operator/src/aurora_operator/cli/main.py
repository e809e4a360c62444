"""The command line ``aurora``, also as ``kubectl aurora`` (install the package, and kubectl finds it)."""

import argparse
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain

from aurora_operator.api import GROUP, VERSION
from aurora_operator.cli import adopt, changes, completion, doctor, report, show
from aurora_operator.cli.effect import carry_out
from aurora_operator.cli.kubectl import Kubectl
from aurora_operator.cli.parser import parser
from aurora_operator.cli.terminal import write
from aurora_operator.clients import nesting

_Command = Callable[[Kubectl, argparse.Namespace], None]


def _change(kubectl: Kubectl, options: argparse.Namespace) -> None:
    """Commands that change something."""
    found = kubectl.get(options.name)
    spec, annotations, status = found.spec, found.annotations, found.status
    match options.command:
        case "promote":
            request = changes.promote(spec, annotations, status)
        case "reject":
            request = changes.reject(spec, annotations, status)
        case "rollback":
            request = changes.rollback(options.to, status)
        case "pause":
            request = changes.pause(annotations)
        case "resume":
            request = changes.resume(annotations)
        case _:
            request = changes.speculation(options.state, spec, annotations)
    carry_out(kubectl, found, request, options.timeout)


def _doctor(kubectl: Kubectl, options: argparse.Namespace) -> None:
    rows = []
    found = doctor.checks(kubectl, options.name)
    if options.upgrade:
        found = chain(found, doctor.upgrades(kubectl, options.name, options.engine_image, options.trainer_image))
    for check in found:
        rows.append(check)
        if options.output != "json":
            write(f"{check.result:<11} {check.name}" + (f": {check.message}" if check.message else ""))
    if options.output == "json":
        show.as_json([check.row() for check in rows])
    sys.exit(1 if any(check.result in doctor.BAD for check in rows) else 0)


def _report(kubectl: Kubectl, options: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    everything = options.name is None
    resources = kubectl.all(everywhere=options.all_namespaces) if everything else [kubectl.get(options.name)]
    path = options.file or report.default_name(now)
    names = report.write_bundle(path, report.files(kubectl, resources, options.tail, now), now)
    failed = sum(name.endswith(".error") for name in names)
    rest = f", {failed} of them say why something could not be read" if failed else ""
    write(f"{path}: {len(names)} files about {len(resources)} deployments{rest}; no Secret was read")


def _version(kubectl: Kubectl, options: argparse.Namespace) -> None:
    images = (
        "-l",
        "app.kubernetes.io/name=aurora-operator",
        "-o",
        "jsonpath={.items[*].spec.template.spec.containers[*].image}",
    )
    operator = kubectl.attempt("get", "deployments", "--all-namespaces", *images)
    served = kubectl.attempt("get", "--raw", f"/apis/{GROUP}/{VERSION}")
    found = {
        "aurora": version("aurora-operator"),
        "operator": f"not known: {operator.failure}" if operator.failure else operator.out.strip() or "not found",
        "api": f"{GROUP}/{VERSION}" if served.failure is None else f"not served: {served.failure}",
    }
    if options.output == "json":
        show.as_json(found)
        return
    for name, value in found.items():
        write(f"{name:<9} {value}")


_READING: Mapping[str, _Command] = {
    "status": show.status,
    "explain": show.explain,
    "versions": show.versions,
    "logs": show.logs,
    "doctor": _doctor,
    "adopt": adopt.adopt,
    "report": _report,
    "version": _version,
}


def main() -> None:
    """Entry point."""
    if sys.argv[1:2] == ["__complete"]:
        # Not parsed: what is completed may be an option.
        nesting.guard()
        print("\n".join(completion.candidates(parser(), sys.argv[2:], Kubectl())))
        return
    options = parser().parse_args()
    if options.command == "completion":
        print(completion.SCRIPTS[options.shell], end="")
        return
    nesting.guard()
    try:
        _READING.get(options.command, _change)(Kubectl(options.context, options.kubeconfig, options.namespace), options)
    except KeyboardInterrupt:
        # What was asked for is asked for; only the waiting ends.
        sys.exit(130)


if __name__ == "__main__":
    main()
