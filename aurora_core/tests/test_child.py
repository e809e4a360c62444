"""A process that ends with the one that started it, also where nobody waits for that one."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from workshop.waiting import wait

CHILD = "import time; from aurora_core.child import end_with_parent; end_with_parent(); print('tied'); time.sleep(600)"
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-u", "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


def state(pid):
    """The letter of a process's state; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_a_child_ends_with_a_parent_that_nobody_waits_for():
    """Given a parent that was killed and is a zombie, as a raylet under an init that reaps nothing, then it is gone."""
    with subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        try:
            assert state(child) in {"S", "R"}
            parent.kill()
            wait("the child's end", lambda: state(child) in {"", "Z"}, 20, every=0.02)
            assert state(parent.pid) == "Z", "it was not waited for"
        finally:
            parent.kill()
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
