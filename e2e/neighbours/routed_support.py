"""A resource whose Canary goes by a route, and what a router and its clients show of it."""

import json
from datetime import datetime

from apiserver_support import GOOD
from clients import interval
from control_plane import audit_log
from host import Host, wait
from neighbour_support import Neighboured

NODE = "traefik"
POD_SET = "aurora-operator.io/pod-set"
WEIGHT = 30
BOTH, ALONE = [100 - WEIGHT, WEIGHT], [100, 0]
LONG = 300.0
"""Seconds that anything here may take on a machine that has other work."""
ENOUGH = 1000
"""Requests of which a share is measured."""


def a_resource(route):
    """Four replicas, of which two are canary pods in a trial; no Prometheus answers, so that a person decides."""
    promotion = {
        "strategy": "Canary",
        "prometheus": {"url": "http://127.0.0.1:9"},
        "gate": {"sliceSeconds": 5, "maxSliceSeconds": 5},
        "canary": {"replicas": 1, "route": {"name": route, "weight": WEIGHT}},
    }
    spec = GOOD["spec"] | {"serving": {"replicas": 4}, "promotion": promotion}
    return GOOD | {"metadata": {"name": "chat"}, "spec": spec}


class Routed(Neighboured):
    """Its namespace."""

    rest_seconds = reconcile_seconds = LONG
    route = "front"

    def weights(self):
        """Of the route, stable's first."""
        (rule,) = self.read("httproute", self.route)["spec"]["rules"]
        return [one["weight"] for one in rule["backendRefs"]]

    def have(self, weights, seconds=LONG):
        """Wait until the route has these weights."""

        def state():
            return self.weights(), self.condition("RouteReady"), self.condition("PromotionProgressing")

        wait(f"weights {weights}", lambda: self.weights() == weights, seconds, state=state)

    def sets(self, who, weights):
        """Another client sets the weights."""
        path = "/spec/rules/0/backendRefs/{}/weight"
        change = [{"op": "replace", "path": path.format(at), "value": weight} for at, weight in enumerate(weights)]
        command = ("httproute", self.route, "--type=json", "-p", json.dumps(change))
        self.kubectl("patch", *command, f"--field-manager={who}")

    def canaries(self):
        """Names of the canary pods."""
        return {
            one["metadata"]["name"] for one in self.pods("engine") if one["metadata"]["labels"].get(POD_SET) == "canary"
        }

    def decide(self, word, version):
        """As a person does."""
        self.kubectl("annotate", "--overwrite", "specdep", "chat", f"aurora-operator.io/{word}={version}")

    def written(self, since):
        """Moments since one when the API server had taken a patch of the route by the operator, by its own clock."""
        found = []
        for line in audit_log(Host(NODE)).read_text().splitlines():
            event = json.loads(line)
            what, who = event["objectRef"], event["user"]["username"]
            if (what["resource"], what.get("name"), event["verb"]) == ("httproutes", self.route, "patch"):
                at = datetime.fromisoformat(event["stageTimestamp"]).timestamp()
                if who.endswith(f":{self.namespace}:aurora") and at >= since:
                    found.append(at)
        return found


def dealt(asked, share, what):
    """Check that requests had a share, by an interval of 99 %; returns how it is printed."""
    count, (low, high) = sum(map(what, asked)), interval(sum(map(what, asked)), len(asked))
    assert low <= share <= high, (count, len(asked), low, high, share)
    return f"{count} of {len(asked)}, {low:.1%} to {high:.1%} (set: {share:.0%})"
