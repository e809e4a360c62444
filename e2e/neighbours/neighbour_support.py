"""What a cluster gives to controllers of others that run here as processes: rights, and addresses of their Services.

The cluster is an API server of ``e2e/cluster/node.py`` in its own network, where root may change how packets go.
"""

import base64
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Self

import yaml
from host import IP, wait
from operated import Operator
from program import Program

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "e2e" / "servers" / "build.sh"
PAGES = ROOT / "docs" / "install"
CONTROLLERS = (
    "job-controller", "deployment-controller", "replicaset-controller", "disruption-controller",
    "serviceaccount-controller", "garbage-collector-controller", "namespace-controller",
    "persistentvolumeclaim-protection-controller",
)  # fmt: skip


def tried(*words, stdin=None):
    """kubectl, whatever comes of it."""
    return subprocess.run(["kubectl", *words], input=stdin, check=False, capture_output=True, text=True)


def kubectl(*words, stdin=None):
    """To success, and without a warning; returns what it printed."""
    made = tried(*words, stdin=stdin)
    assert made.returncode == 0, made.stderr
    assert "Warning" not in made.stderr, made.stderr
    return made.stdout


def get(kind, name, namespace):
    """An object of any kind that the cluster has, or None."""
    found = kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
    return json.loads(found) if found else None


def blocks(page, language):
    """A page's blocks of a language, each as its text."""
    text = (PAGES / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def module(name):
    """The folder of a Go module's source, of which charts and definitions are taken."""
    found = subprocess.run(["go", "mod", "download", "-json", name], check=True, capture_output=True, text=True)
    return Path(json.loads(found.stdout)["Dir"])


def controllers(folder, *more, options=()):
    """Kubernetes' own controllers, without a scheduler and a kubelet; ``more`` are names of others of them."""
    return Program.start(
        folder, "controllers", "kube-controller-manager", f"--kubeconfig={os.environ['KUBECONFIG']}",
        "--leader-elect=false", "--secure-port=0", "--concurrent-gc-syncs=5",
        f"--controllers={','.join((*CONTROLLERS, *more))}", *options,
    )  # fmt: skip


def as_account(folder, namespace, account):
    """A kubeconfig of a service account, so that what it may is what its own chart gives it."""
    config = yaml.safe_load(kubectl("config", "view", "--raw", "--minify", "--flatten"))
    token = kubectl("create", "token", account, "-n", namespace, "--duration=3h").strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = folder / f"{account}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def routed(namespace, service, port):
    """Packets to a Service go to a port of this network, as kube-proxy would have it; returns how to undo it."""
    address = kubectl("get", "service", service, "-n", namespace, "-o", "jsonpath={.spec.clusterIP}")
    rule = ("OUTPUT", "-d", f"{address}/32", "-p", "tcp", "--dport", "443", "-j", "DNAT", "--to", f"{IP}:{port}")
    subprocess.run(["iptables", "-t", "nat", "-A", *rule], check=True, capture_output=True)
    return lambda: subprocess.run(["iptables", "-t", "nat", "-D", *rule], check=True, capture_output=True)


def mounted(namespace, secret, folder):
    """A Secret's values as the files that a kubelet makes of them, once it has some."""

    def values():
        found = tried("get", "secret", secret, "-n", namespace, "-o", "json")
        return json.loads(found.stdout).get("data") if found.returncode == 0 else None

    data = wait(f"the Secret {secret}", values, 60)
    folder.mkdir(exist_ok=True)
    for name, value in data.items():
        (folder / name).write_bytes(base64.b64decode(value))


class Neighboured:
    """A namespace with the operator and its resource ``chat``, where the test says what a kubelet would.

    Attributes:
        rest_seconds, reconcile_seconds: within which it comes to rest, and reconciles once.
    """

    rest_seconds, reconcile_seconds = 60, 30

    def __init__(self, namespace, operator, log):
        self.namespace, self.operator, self._log = namespace, operator, log

    @classmethod
    def start(cls, namespace, folder, resource) -> Self:
        """Start the operator, and apply the resource."""
        log = folder / "operator.log"
        made = cls(namespace, Operator.start(namespace, log), log)
        made.kubectl("apply", "-f", "-", stdin=resource)
        return made

    def stop(self):
        """End the operator; prints the end of its log."""
        self.operator.stop()
        print(self._log.read_text()[-10000:])

    def kubectl(self, *words, stdin=None):
        """To success; returns what it printed."""
        return kubectl(*words, "-n", self.namespace, stdin=stdin)

    def read(self, kind, name):
        """An object, or None."""
        return get(kind, name, self.namespace)

    def items(self, kind, *options):
        """All objects of a kind, deleted ones not among them."""
        found = json.loads(self.kubectl("get", kind, *options, "-o", "json"))["items"]
        return [one for one in found if "deletionTimestamp" not in one["metadata"]]

    def pods(self, component):
        """Its pods of a component."""
        label = f"app.kubernetes.io/instance=chat,app.kubernetes.io/component={component}"
        return self.items("pods", "-l", label)

    def patch(self, kind, name, change, *more):
        """Change what a merge patch names."""
        self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(change), *more)

    def desire(self, **spec):
        """Change the resource."""
        self.patch("specdep", "chat", {"spec": spec})

    def condition(self, kind):
        """A condition of the resource."""
        found = (self.read("specdep", "chat") or {}).get("status", {}).get("conditions", [])
        return next((one for one in found if one["type"] == kind), {})

    def reported(self, kind, reason, seconds=60):
        """Wait until a condition has a reason; returns its message."""
        wait(f"{kind} {reason}", lambda: self.condition(kind).get("reason") == reason, seconds,
             state=lambda: self.condition(kind))  # fmt: skip
        return self.condition(kind)["message"]

    def kubelet_says(self, pod, phase):
        """Write a pod's phase, as the kubelet that is not here would."""
        conditions = [{"type": "Ready", "status": "True" if phase == "Running" else "False"}]
        status = {"status": {"phase": phase, "conditions": conditions}}
        self.patch("pod", pod["metadata"]["name"], status, "--subresource=status")

    def prepared(self):
        """Wait for the init Job's pod, and say that it fetched the target."""
        pods = wait("the init pod", lambda: self.pods("init"), 60)
        self.kubelet_says(pods[0], "Succeeded")

    def writes_of(self, reconciles=3):
        """How many writes come of so many reconciles, each of which an annotation of another client begins."""
        count, writes = "aurora_operator_reconcile_seconds_count", "aurora_operator_writes_total"
        before = self.operator.metric(writes)
        for _ in range(reconciles):
            begun = self.operator.metric(count)
            seen = {"metadata": {"annotations": {"example.org/seen": str(time.time())}}}
            self.patch("specdep", "chat", seen)
            wait("a reconcile", lambda begun=begun: self.operator.metric(count) > begun, self.reconcile_seconds)
        return self.operator.metric(writes) - before

    def rests(self, what):
        """Wait until reconciles write nothing, and then no more for a while; prints of how many."""
        wait(f"rest: {what}", lambda: self.writes_of(2) == 0, self.rest_seconds)
        begun = self.operator.metric("aurora_operator_reconcile_seconds_count")
        assert self.writes_of(5) == 0, what
        after = self.operator.metric("aurora_operator_reconcile_seconds_count")
        print(f"   {what}: 0 writes in {after - begun:.0f} reconciles")
