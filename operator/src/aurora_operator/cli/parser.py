"""The command line: commands and their options."""

import argparse
from pathlib import Path

WAIT_SECONDS = 120.0
_Parser = argparse.ArgumentParser


def _common() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument("-n", "--namespace", default="", help="namespace; by default that of the context")
    made.add_argument("--context", default="", help="context of the kubeconfig; by default the current one")
    made.add_argument("--kubeconfig", default="", metavar="FILE", help="kubeconfig file")
    return made


def _output() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text, or json for programs")
    return made


def _everywhere() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument("-A", "--all-namespaces", action="store_true", help="all namespaces")
    return made


def _waiting() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument(
        "--timeout", type=float, default=WAIT_SECONDS, metavar="SECONDS",
        help="how long to wait for the effect; 0 only asks for it (default: %(default).0f)",
    )  # fmt: skip
    return made


def parser() -> argparse.ArgumentParser:
    """All commands; the one that is given is ``command`` of the result."""
    made = argparse.ArgumentParser(
        prog="aurora", description="The command line aurora, also as kubectl aurora: see, understand and decide."
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common, output, everywhere, waiting = _common(), _output(), _everywhere(), _waiting()

    def add(name: str, text: str, *parents: _Parser, named: bool | None = True) -> _Parser:
        command = commands.add_parser(name, help=text, description=text, parents=[common, *parents])
        if named is not None:
            command.add_argument("name", nargs=None if named else "?", help="SpeculatorDeployment")
        return command

    status = add("status", "what is served, what is on trial, what training does", output, everywhere, named=False)
    status.add_argument("-w", "--watch", action="store_true", help="refresh every 2 s")
    status.add_argument("--plot", type=Path, metavar="FILE.png", help="draw estimate and interval over time")
    status.add_argument("--hours", type=float, default=1.0, help="how far back the picture reaches")
    add("explain", "why the candidate is not promoted yet, and how much traffic that needs", output)
    add("versions", "the versions on the volume, and what became of each", output)
    logs = add("logs", "the logs of engines, agents, trainer and init")
    logs.add_argument("-f", "--follow", action="store_true", help="follow new lines")
    logs.add_argument("--tail", type=int, default=50, help="lines of each to begin with")
    add("promote", "make the candidate stable now, without proof", waiting)
    add("reject", "end the candidate's trial", waiting)
    rollback = add("rollback", "make an earlier version stable, in all pods, without a restart", waiting)
    rollback.add_argument("--to", type=int, metavar="VERSION", help="which one; by default the stable version before")
    add("pause", "stop deciding: ends the trial without a verdict and begins no other", waiting)
    add("resume", "resume promotion", waiting)
    speculation = commands.add_parser(
        "speculation", parents=[common, waiting], help="switch drafting off in all engines, until it is switched on",
        description="Switch drafting off in all engines now, without a restart, until it is switched on.",
    )  # fmt: skip
    speculation.add_argument("state", choices=("off", "on"))
    speculation.add_argument("name", help="SpeculatorDeployment")
    doctor = add("doctor", "check API server, operator, storage, GPUs and Prometheus", output, named=False)
    doctor.add_argument(
        "--upgrade", action="store_true",
        help="also which pods an operator of this command's version would restart",
    )  # fmt: skip
    doctor.add_argument("--engine-image", metavar="IMAGE", help="of that operator; by default that of the running one")
    doctor.add_argument("--trainer-image", metavar="IMAGE", help="the same of trainers")
    adopt = add("adopt", "print a patch by which a Deployment's engines become those of serving.adopt")
    adopt.add_argument("--deployment", required=True, metavar="NAME", help="that runs them")
    adopt.add_argument("--container", required=True, metavar="NAME", help="of its pods that runs SGLang")
    adopt.add_argument("--engine-image", metavar="IMAGE", help="by default that of the running operator")
    report = add("report", "collect statuses, Events and logs, without Secrets", everywhere, named=False)
    report.add_argument("-f", "--file", type=Path, metavar="FILE.tar.gz", help="by default named after the time")
    report.add_argument("--tail", type=int, default=2000, help="lines of each log")
    add("version", "versions of this command, the operator and the API", output, named=None)
    completion = commands.add_parser("completion", help="print a script that completes commands in your shell")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    hidden = commands.add_parser("__complete")
    hidden.add_argument("words", nargs=argparse.REMAINDER)
    return made
