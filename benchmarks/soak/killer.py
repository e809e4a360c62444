"""Kills the operator, Prometheus or the engine of a real node at random moments, as a node that fails would."""

import json
import random
import subprocess
import threading
from collections.abc import Callable

from deployed import NAME, kubectl
from host import Host

VICTIMS = {"operator": 6, "prometheus": 2, "engine": 1}
"""What is killed, and how often beside the others; an engine is away for a minute then."""
PODS = {
    "operator": ("aurora-system", "app.kubernetes.io/name=aurora-operator"),
    "prometheus": ("monitoring", "app=prometheus"),
    "engine": ("default", f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component=engine"),
}
"""Where they are: namespace and labels."""
DELETE = ("--grace-period=0", "--force", "--wait=false", "--ignore-not-found")


def _kill(name: str) -> bool:
    """SIGKILL a pod's first container, if it runs, and delete the pod; its controller makes another.

    Killed in place, a container would wait longer after each kill (the kubelet's crash-loop back-off).
    """
    namespace, chosen = PODS[name]
    items = json.loads(kubectl("get", "pods", "-n", namespace, "-l", chosen, "-o", "json"))["items"]
    containers = [(pod, c) for pod in items for c in pod["status"].get("containerStatuses") or ()]
    running = [(pod, c) for pod, c in containers if "running" in c["state"] and c["name"] != "agent"]
    if not running:
        return False
    pod, container = running[0]
    task = container["containerID"].removeprefix("containerd://")
    command = ["ctr", "-a", str(Host().socket), "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", task]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        return False
    kubectl("delete", "pod", pod["metadata"]["name"], "-n", namespace, *DELETE)
    return True


class Killer:
    """Kills something at random moments, until so many kills are done or the run is over."""

    def __init__(self, kills: int, say: Callable[[str], None]) -> None:
        self.done = dict.fromkeys(VICTIMS, 0)
        self._left = kills
        self._say = say
        self._error: SystemExit | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        rng = random.Random(0)
        while self._left > 0 and not self._over.wait(rng.uniform(5, 40)):
            (name,) = rng.choices(list(VICTIMS), list(VICTIMS.values()))
            try:
                killed = _kill(name)
            except SystemExit as error:  # in a thread it would end that thread, and nobody would hear of it
                self._error = error
                return
            if killed:
                self.done[name] += 1
                self._left -= 1
                self._say(f"  killed the {name}")

    def stop(self) -> int:
        """End; returns how many kills were not done."""
        self._over.set()
        self._thread.join()
        if self._error:
            raise self._error
        return self._left
