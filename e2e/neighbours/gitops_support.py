"""What a test of a GitOps tool needs: Kubernetes' controllers, the chart's operator, and a resource's namespace."""

import json
import os
import subprocess
import time
from contextlib import contextmanager

import yaml
from apiserver_support import GOOD, client, kubectl
from control_plane import audit_log
from deployed import kubectl as done
from host import Host, wait
from operated import Operator

NODE = "gitops"
SYSTEM, SPACE = "aurora-system", "default"
LONG = 300.0
"""Seconds that anything here may take on a machine that has other work."""
CONTROLLERS = (
    "job-controller", "deployment-controller", "replicaset-controller", "disruption-controller",
    "serviceaccount-controller", "garbage-collector-controller", "namespace-controller",
)  # fmt: skip


@contextmanager
def controllers(folder):
    """Kubernetes' own controllers, without a scheduler and a kubelet."""
    command = ["kube-controller-manager", f"--kubeconfig={os.environ['KUBECONFIG']}", "--leader-elect=false",
               "--secure-port=0", f"--controllers={','.join(CONTROLLERS)}"]  # fmt: skip
    with (folder / "controllers.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as running:
        try:
            yield
        finally:
            running.kill()


def as_text(**spec):
    """A resource as it is in git, of which nothing is promoted by itself."""
    promotion = {"strategy": "Manual"}
    return yaml.safe_dump(GOOD | {"metadata": {"name": "chat"}, "spec": GOOD["spec"] | {"promotion": promotion} | spec})


def get(kind, name, namespace):
    """An object, or None."""
    found = kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
    return json.loads(found.stdout) if found.stdout else None


@contextmanager
def installed_operator(folder):
    """The operator as a process, with the environment and the rights of the Deployment that the chart installed."""
    container = get("deployment", "aurora", SYSTEM)["spec"]["template"]["spec"]["containers"][0]
    given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    config = yaml.safe_load(done("config", "view", "--raw", "--minify", "--flatten"))
    token = done("create", "token", "aurora", "-n", SYSTEM, "--duration=3h").strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    (folder / "operator.yaml").write_text(yaml.safe_dump(config))
    given |= {"KUBECONFIG": str(folder / "operator.yaml"), "AURORA_OPERATOR_LEASE_NAMESPACE": SYSTEM}
    running = Operator.start("", folder / "operator.log", environment=given)
    try:
        yield running
    finally:
        running.stop()
        print((folder / "operator.log").read_text()[-4000:])


class Space:
    """The namespace of the resource, beside an operator that the chart installed."""

    def __init__(self, operator):
        self._operator = operator

    def kubectl(self, *words, stdin=None):
        """To success; returns what it printed."""
        return done(*words, "-n", SPACE, stdin=stdin)

    def read(self, kind, name):
        """An object, or None."""
        return get(kind, name, SPACE)

    def desire(self, **spec):
        """Change the resource manually."""
        self.kubectl("patch", "specdep", "chat", "--type=merge", "-p", json.dumps({"spec": spec}))

    def condition(self, kind):
        """A condition of the resource."""
        found = (self.read("specdep", "chat") or {}).get("status", {}).get("conditions", [])
        return next((one for one in found if one["type"] == kind), {})

    def claim(self):
        """Uid of the claim with the drafts, or None."""
        found = client().get("v1", "PersistentVolumeClaim", SPACE, "chat-weights")
        return found and found["metadata"]["uid"]

    def made(self):
        """Names of the operator's objects, the claim not among them."""
        kinds = "deploy,job,svc,cm,secret,networkpolicy,pdb"
        listed = self.kubectl("get", kinds, "-l", "app.kubernetes.io/managed-by=aurora-operator", "-o", "json")
        return sorted(f"{one['kind']}/{one['metadata']['name']}" for one in json.loads(listed)["items"])

    def stable(self):
        """The version that is stable, or None."""
        found = (self.read("specdep", "chat") or {}).get("status", {}).get("stable")
        return found and found["version"]

    def writes_of(self, reconciles):
        """How many writes come of so many reconciles, each of which an annotation of another client begins."""
        count, writes = "aurora_operator_reconcile_seconds_count", "aurora_operator_writes_total"
        before = self._operator.metric(writes)
        for _ in range(reconciles):
            begun = self._operator.metric(count)
            self.kubectl("annotate", "--overwrite", "specdep", "chat", f"example.org/seen={time.time()}")
            wait("a reconcile", lambda begun=begun: self._operator.metric(count) > begun, LONG)
        return self._operator.metric(writes) - before

    def rests(self, what):
        """Wait until reconciles write nothing, and then no more for a while."""
        wait(f"rest: {what}", lambda: self.writes_of(2) == 0, LONG)
        assert self.writes_of(5) == 0, what

    def ready(self):
        """Whether it is Ready for what is desired now."""
        found = self.condition("Ready")
        generation = (self.read("specdep", "chat") or {"metadata": {"generation": 0}})["metadata"]["generation"]
        return found.get("status") == "True" and found.get("observedGeneration") == generation

    def becomes_ready(self):
        """Wait until it is."""
        wait("Ready", self.ready, LONG, every=1, state=lambda: self.condition("Ready"))


def writes_since(began, ignored=()):
    """Writes to the API server since a moment, by user agent, verb and resource: of the node's audit log."""
    found = {}
    for line in audit_log(Host(NODE)).read_text().splitlines():
        event = json.loads(line)
        what = event["objectRef"]
        if event["requestReceivedTimestamp"] >= began and what["resource"] not in ignored:
            key = (event["userAgent"].split("/")[0], event["verb"], what["resource"], what.get("subresource", ""))
            found[key] = found.get(key, 0) + 1
    return found


def now():
    """As the audit log writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".000000Z"


def without_claim():
    """Delete the claim with the drafts, whose finalizer a controller would take away that does not run here."""
    done("patch", "pvc", "chat-weights", "-n", SPACE, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    done("delete", "pvc", "chat-weights", "-n", SPACE)
