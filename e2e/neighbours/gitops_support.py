"""What a test of a GitOps tool needs: Kubernetes' controllers, the chart's operator, and a resource's namespace."""

import json
import time
from contextlib import contextmanager

import yaml
from apiserver_support import GOOD, client
from control_plane import audit_log
from host import Host, wait
from neighbour_support import Neighboured, as_account, get, kubectl
from operated import Operator

NODE = "gitops"
SYSTEM, SPACE = "aurora-system", "default"
LONG = 300.0
"""Seconds that anything here may take on a machine that has other work."""


def as_text(**spec):
    """A resource as it is in git, of which nothing is promoted by itself."""
    promotion = {"strategy": "Manual"}
    return yaml.safe_dump(GOOD | {"metadata": {"name": "chat"}, "spec": GOOD["spec"] | {"promotion": promotion} | spec})


@contextmanager
def installed_operator(folder):
    """The operator as a process, with the environment and the rights of the Deployment that the chart installed."""
    container = get("deployment", "aurora", SYSTEM)["spec"]["template"]["spec"]["containers"][0]
    given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    access = as_account(folder, SYSTEM, "aurora")
    given |= {"KUBECONFIG": str(access), "AURORA_OPERATOR_LEASE_NAMESPACE": SYSTEM}
    running = Operator.start("", folder / "operator.log", environment=given)
    try:
        yield running
    finally:
        running.stop()
        print((folder / "operator.log").read_text()[-4000:])


class Space(Neighboured):
    """The namespace of the resource, with an operator that the chart installed."""

    rest_seconds = reconcile_seconds = LONG

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
    kubectl("patch", "pvc", "chat-weights", "-n", SPACE, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    kubectl("delete", "pvc", "chat-weights", "-n", SPACE)
