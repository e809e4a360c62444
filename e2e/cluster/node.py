#!/usr/bin/env python3
"""A real single-node Kubernetes on this machine, in a network namespace of its own.

    node.py start [--api-only]   etcd and API server, and (without --api-only) all that makes a node
    node.py stop                 ends every process by its id, and removes namespace, mounts and state
    node.py status               what runs
    node.py enter COMMAND...     run a command inside the node's network

--name gives it another name, under which several exist at a time. A start that is interrupted stops what it started.
Images and volumes stay in the cache, so that the next start is quick. Needs root; standard library only.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import control_plane
import pki
import worker
from host import IP, Host, build, run
from workshop import interrupt, packages
from workshop.build import COMPONENTS


def _prepare(host: Host) -> None:
    """Packages, components, folders, network."""
    if missing := packages.missing(packages.NODE):
        print(f"installing {len(missing)} system packages, about 60 s", flush=True)
        packages.install(packages.NODE, run)
    host.bin = Path(build("Kubernetes components", 500, COMPONENTS))
    for folder in ("pki", "log", "cni", "etcd", "kubelet"):
        (host.state / folder).mkdir(parents=True, exist_ok=True)
    run("ip", "netns", "add", host.name)
    for command in (
        ("link", "set", "lo", "up"),
        ("link", "add", "node0", "type", "bridge"),
        ("addr", "add", f"{IP}/24", "dev", "node0"),
        ("link", "set", "node0", "up"),
        ("route", "add", "default", "dev", "node0"),
    ):
        run("ip", "-n", host.name, *command)
    run(*host.inside("sysctl", "-qw", "net.ipv4.ip_forward=1"))


def _netns() -> set[str]:
    folder = Path("/run/netns")
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def start(host: Host, *, api_only: bool = False) -> None:
    """Start everything."""
    stop(host)
    _prepare(host)
    pki.make(host)
    control_plane.start(host)
    if not api_only:
        # Networks of pods that are not ours; at the end all others go. An API server alone has no pods.
        (host.state / "foreign-netns").write_text("\n".join(_netns()))
        worker.start(host)
    (host.state / "bin").write_text(str(host.bin))


def _start_or_stop(host: Host, *, api_only: bool) -> None:
    """Start; where that fails or is interrupted, nothing stays."""
    if host.pids():
        raise SystemExit(f"already running: {', '.join(host.pids())}; stop it first")
    interrupt.adopt()
    interrupt.raised()
    try:
        start(host, api_only=api_only)
    except BaseException as error:
        interrupt.ignore()
        print(f"{error}: stopping what was started", flush=True)
        stop(host)
        interrupt.end_descendants()
        if isinstance(error, interrupt.Interrupted):
            raise SystemExit(128 + error.number) from None
        raise


def stop(host: Host) -> None:
    """End what was started, by id, and remove what it left; images and built components stay."""
    host.end("coredns", "proxy", "kubelet", "scheduler", "controllers")
    if "containerd" in host.pids():
        ctr = host.inside("ctr", "-a", str(host.socket), "-n", "k8s.io")
        for task in run(*ctr, "tasks", "ls", "-q").split():
            subprocess.run([*ctr, "tasks", "kill", "-s", "SIGKILL", task], check=False, capture_output=True)
            subprocess.run([*ctr, "tasks", "delete", "-f", task], check=False, capture_output=True)
        for container in run(*ctr, "containers", "ls", "-q").split():
            subprocess.run([*ctr, "containers", "rm", container], check=False, capture_output=True)
    host.end("containerd", "registry", "apiserver", "etcd")
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted(mounts, reverse=True):
        if mount.startswith(tuple(f"{folder}/" for folder in (host.state, host.volumes, host.socket.parent))):
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
    foreign = host.state / "foreign-netns"
    known = set(foreign.read_text().split()) if foreign.exists() else _netns()
    for name in _netns():
        if name == host.name or (name.startswith("cni-") and name not in known):
            run("ip", "netns", "del", name)
    shutil.rmtree(host.state, ignore_errors=True)
    shutil.rmtree(host.volumes, ignore_errors=True)
    shutil.rmtree(host.socket.parent, ignore_errors=True)


def main(arguments: Sequence[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="aurora")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start").add_argument("--api-only", action="store_true")
    commands.add_parser("stop")
    commands.add_parser("status")
    commands.add_parser("enter").add_argument("rest", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    host = Host(options.name)
    started = time.monotonic()
    if options.command == "start":
        _start_or_stop(host, api_only=options.api_only)
        print(f"up in {time.monotonic() - started:.0f} s; KUBECONFIG={host.kubeconfig}")
    elif options.command == "stop":
        stop(host)
    elif options.command == "status":
        for name, pid in sorted(host.pids().items()):
            print(f"{name:12} {pid}")
    else:
        binaries = (host.state / "bin").read_text()
        path = f"{binaries}:{os.environ['PATH']}"
        environment = {**os.environ, "KUBECONFIG": str(host.kubeconfig), "PATH": path}
        os.execvpe("nsenter", host.inside(*options.rest), environment)  # noqa: S606 (that is the point)


if __name__ == "__main__":
    main(sys.argv[1:])
