"""Debian's packages that the commands need."""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

ENVIRONMENT = (
    "python3.11", "python3.11-venv", "libnuma1", "libibverbs1", "librdmacm1", "libcurl4", "liburing2",
)  # fmt: skip
"""What the virtual environment needs."""
NODE = (
    "containerd", "runc", "containernetworking-plugins", "etcd-server", "iptables", "iproute2", "buildah",
    "debootstrap", "openssl", "conntrack", "gcc", "libc6-dev",
)  # fmt: skip
"""What a node, and building images, needs."""


def missing(names: Sequence[str]) -> list[str]:
    """Those that are not installed."""
    done = subprocess.run(
        ["dpkg-query", "-W", "-f=${Package} ${Status}\n", *names], check=False, capture_output=True, text=True
    )
    installed = {line.split()[0] for line in done.stdout.splitlines() if line.endswith("ok installed")}
    return [name for name in names if name not in installed]


def install(names: Sequence[str], run: Callable[..., object]) -> None:
    """Install what is missing, by root or sudo; no package starts a service of its own here."""
    needed = missing(names)
    if not needed:
        return
    root = () if os.geteuid() == 0 else ("sudo",)
    run(*root, "apt-get", "update", "-q")
    policy = Path("/usr/sbin/policy-rc.d")
    ours = os.geteuid() == 0 and not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        run(*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-q",
            "--no-install-recommends", *needed)  # fmt: skip
    finally:
        if ours:
            policy.unlink(missing_ok=True)
