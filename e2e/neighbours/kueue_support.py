"""Kueue's manager as a process, of its own chart, with its rights, certificates and webhooks; and its queues."""

import json
import os

import yaml
from host import wait
from neighbour_support import Neighboured, as_account, blocks, kubectl, mounted, routed, tried
from program import Program

KUEUE = ("sigs.k8s.io/kueue@v0.17.0", "./cmd/kueue")
SPACE = "kueue-system"
QUEUES, RESOURCE = blocks("kueue.md", "yaml")
QUEUE = "kueue.x-k8s.io/queue-name"
FLAVOR = {
    "nodeLabels": {"pool": "spot"},
    "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
}


class Kueue:
    """Its manager, as its chart's Deployment would run it."""

    def __init__(self, folder, program):
        self._folder, self._program, self._running, self._ways = folder, program, None, []

    def start(self, **settings):
        """Start it with the chart's configuration, of which settings are changed."""
        config = yaml.safe_load(
            kubectl("get", "configmap", "kueue-manager-config", "-n", SPACE, "-o",
                    r"jsonpath={.data.controller_manager_config\.yaml}")
        )  # fmt: skip
        certificates = self._folder / "certificates"
        config |= settings
        config["webhook"]["certDir"] = str(certificates)
        config["leaderElection"]["resourceNamespace"] = SPACE
        (self._folder / "config.yaml").write_text(yaml.safe_dump(config))
        access = as_account(self._folder, SPACE, "kueue-controller-manager")
        # Its second API, of what waits in queues, would need what pods alone have.
        options = ("--zap-log-level=2", "--feature-gates=VisibilityOnDemand=false")
        command = (self._program, f"--config={self._folder}/config.yaml", *options)
        environment = {**os.environ, "KUBECONFIG": str(access), "POD_NAMESPACE": SPACE}
        self._running = Program.start(self._folder, "kueue", *command, env=environment)
        wait("a certificate", lambda: self._certified(certificates), 60, state=self._running.tail)
        if not self._ways:
            self._ways = [routed(SPACE, "kueue-webhook-service", 9443)]
        # What makes its certificates answers at the same address as ready.
        wait("its webhooks", self._answers, 120, every=1, state=self._running.tail)

    def _answers(self):
        self._running.lives()
        body = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ResourceFlavor", "metadata": {"name": "none"}}
        return tried("create", "--dry-run=server", "-f", "-", stdin=json.dumps(body)).returncode == 0

    @staticmethod
    def _certified(folder):
        mounted(SPACE, "kueue-webhook-server-cert", folder)
        return (folder / "tls.crt").exists()

    def stop(self):
        self._running.stop()

    def remove(self):
        self.stop()
        for undo in self._ways:
            undo()


def apply(text):
    return kubectl("apply", "-f", "-", stdin=text)


def quota(resource, number):
    """Change the queue's quota of a resource."""
    queue = json.loads(kubectl("get", "clusterqueue", "training", "-o", "json"))
    resources = queue["spec"]["resourceGroups"][0]["flavors"][0]["resources"]
    at = next(i for i, one in enumerate(resources) if one["name"] == resource)
    path = f"/spec/resourceGroups/0/flavors/0/resources/{at}/nominalQuota"
    change = [{"op": "replace", "path": path, "value": number}]
    kubectl("patch", "clusterqueue", "training", "--type=json", "-p", json.dumps(change))


def used(resource):
    """What of a resource the queue has given out."""
    queue = json.loads(kubectl("get", "clusterqueue", "training", "-o", "json"))
    flavors = queue.get("status", {}).get("flavorsUsage", [])
    return next((r["total"] for one in flavors for r in one["resources"] if r["name"] == resource), None)


class Queueing(Neighboured):
    """A namespace whose resource's trainer waits in the queue ``night``."""

    def trainer(self):
        """Its Job, or what reads like none."""
        return self.read("job", "chat-trainer") or {"metadata": {"uid": ""}, "spec": {}}

    def admitted(self):
        """Wait until the trainer runs, as far as it can without a node; returns its Job."""
        wait("admitted", lambda: self.trainer()["spec"].get("suspend") is False, 60, state=self._workloads)
        pods = wait("its pod", lambda: self.pods("trainer"), 60)
        self.kubelet_says(pods[0], "Running")
        wait("no longer queued", lambda: self.condition("TrainingHealthy").get("reason") != "Queued", 60)
        return self.trainer()

    def queued(self):
        """Wait until the trainer is held; returns its Job."""
        message = self.reported("TrainingHealthy", "Queued")
        assert message.startswith("job chat-trainer waits in queue night")
        assert self.trainer()["spec"]["suspend"] is True
        return self.trainer()

    def _workloads(self):
        return [(one["metadata"]["name"], one.get("status")) for one in self.items("workloads")]
