"""A node that is interrupted while it starts leaves nothing."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from apiserver_support import ROOT
from host import Host
from workshop.process import exists
from workshop.waiting import wait

NODE = ROOT / "e2e" / "cluster" / "node.py"
NAME = "interrupted"


def left_of(host, started):
    """Processes, files, networks and mounts of a node."""
    found = [f"process {name}" for name, pid in started.items() if exists(pid)]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if bytes(host.state) in path.read_bytes():
                found.append(f"process {path.read_bytes()}")
    found += [str(path) for path in (host.state, Path("/run/netns", host.name)) if path.exists()]
    return [*found, *(line for line in Path("/proc/mounts").read_text().splitlines() if str(host.state) in line)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["pki", "etcd.pid", "apiserver.pid"])
def test_an_interrupted_start_leaves_no_process_network_mount_or_file(number, moment):
    host = Host(NAME)
    command = [sys.executable, NODE, "--name", NAME, "start", "--api-only"]
    node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait(moment, (host.state / moment).exists, 60, every=0.01)
        started = host.pids()
        node.send_signal(number)
        out, _ = node.communicate(timeout=60)
        left = left_of(host, started)
    finally:
        node.kill()
        subprocess.run([sys.executable, NODE, "--name", NAME, "stop"], check=True)
    assert node.returncode == 128 + number, out
    assert "stopping what was started" in out
    assert left == []
