#!/usr/bin/env python3
"""A real single-node Kubernetes on this machine, in a network namespace of its own.

    node.py start [--api-only]   etcd and API server, and (without --api-only) all that makes a node
    node.py stop                 ends every process by its id, and removes namespace, mounts and state
    node.py status               what runs
    node.py enter COMMAND...     run a command inside the node's network

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

HERE = Path(__file__).resolve().parent
PACKAGES = (
    "containerd", "runc", "containernetworking-plugins", "etcd-server", "iptables", "iproute2", "buildah",
    "debootstrap", "openssl", "conntrack", "gcc", "libc6-dev",
)  # fmt: skip


def _prepare(host: Host) -> None:
    """Packages, components, folders, network."""
    missing = [
        p for p in PACKAGES
        if "ok installed" not in subprocess.run(
            ["dpkg-query", "-W", "-f=${Status}", p], check=False, capture_output=True, text=True
        ).stdout
    ]  # fmt: skip
    if missing:
        run("apt-get", "update", "-q")
        # A package must not start a service of its own here.
        policy = Path("/usr/sbin/policy-rc.d")
        ours = not policy.exists()
        if ours:
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        run("apt-get", "install", "-y", "-q", "--no-install-recommends", *missing,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})  # fmt: skip
        if ours:
            policy.unlink()
    host.bin = Path(build(HERE / "components" / "build.sh"))
    for folder in ("pki", "log", "cni", "etcd", "kubelet"):
        (host.state / folder).mkdir(parents=True, exist_ok=True)
    # Networks of pods that are not ours; at the end all others go.
    (host.state / "foreign-netns").write_text("\n".join(_netns()))
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
    if host.pids():
        raise SystemExit(f"already running: {', '.join(host.pids())}; stop it first")
    stop(host)
    _prepare(host)
    pki.make(host)
    control_plane.start(host)
    if not api_only:
        worker.start(host)
    (host.state / "bin").write_text(str(host.bin))


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
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start").add_argument("--api-only", action="store_true")
    commands.add_parser("stop")
    commands.add_parser("status")
    commands.add_parser("enter").add_argument("rest", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    host = Host()
    started = time.monotonic()
    if options.command == "start":
        start(host, api_only=options.api_only)
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
