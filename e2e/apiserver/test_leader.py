"""Two operators of one installation: one acts, the other takes over when it ends or is killed."""

import json
import os
import signal
import time

from apiserver_support import GOOD, kubectl, read
from host import wait
from operated import Operator

SPACE = "led"
LEASE = {"LEASE": "aurora", "LEASE_NAMESPACE": SPACE}


def holder():
    return (read(SPACE, "lease", "aurora") or {"spec": {}})["spec"].get("holderIdentity", "")


def made(name):
    body = GOOD | {"metadata": {"name": name}}
    assert kubectl("apply", "-n", SPACE, "-f", "-", stdin=json.dumps(body)).returncode == 0
    began = time.monotonic()
    wait(f"the job of {name}", lambda: read(SPACE, "job", f"{name}-init"), 40)
    return time.monotonic() - began


def test_one_acts_and_the_other_takes_over(tmp_path):
    kubectl("create", "namespace", SPACE)
    first = Operator.start(SPACE, tmp_path / "first", **LEASE)
    running = [first]
    try:
        wait("a leader", holder, 30)
        leader = holder()
        second = Operator.start(SPACE, tmp_path / "second", **LEASE)
        running.append(second)
        made("one")
        wait("the second stands by", lambda: "waiting for the lease" in (tmp_path / "second").read_text(), 30)
        assert "watching" not in (tmp_path / "second").read_text()
        assert holder() == leader

        os.kill(first.pid, signal.SIGKILL)
        print(f"killed: taken over and acted after {made('two'):.1f} s")
        assert holder() not in {"", leader}

        leader = holder()
        third = Operator.start(SPACE, tmp_path / "third", **LEASE)
        running.append(third)
        wait("the third stands by", lambda: "waiting for the lease" in (tmp_path / "third").read_text(), 30)
        second.stop()
        running.remove(second)
        took = made("three")
        print(f"ended: taken over and acted after {took:.1f} s")
        assert holder() not in {"", leader}
    finally:
        for one in running:
            one.stop()
        kubectl("delete", "namespace", SPACE, "--wait=false")
