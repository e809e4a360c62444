"""Reading and waiting on a node."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from aurora_core.evaluation.requests import Stream
from aurora_operator.clients.prometheus import Prometheus
from deployed import kubectl, resource, status
from machine import patience
from workshop.waiting import wait

ROOT = Path(__file__).parents[2]


def prometheus():
    """The one that scrapes the node's pods."""
    service = read("service", "prometheus", "monitoring")["spec"]
    return Prometheus(f"http://{service['clusterIP']}:{service['ports'][0]['port']}")


def read(kind, name, namespace="default"):
    return json.loads(kubectl("get", kind, name, "-n", namespace, "-o", "json"))


def eventually(what, condition, seconds):
    """The first truthy value of a condition, within so many seconds; asked less often the longer it takes.

    A kubectl a second would take from what is waited for a good part of a core.
    """
    return wait(
        what, condition, patience(seconds), every=lambda waited: min(3, 0.5 + waited / 20),
        state=lambda: json.dumps(resource().get("status"), indent=1),
    )  # fmt: skip


def brief(body):
    """The example with trials that take half as long: the shortest slices there are, and fewer requests in them."""
    body["spec"]["promotion"]["gate"] |= {"sliceSeconds": 5, "minRequests": 6}
    return body


def serves_on(stream):
    """Three more requests are answered."""
    answered = len(stream.record.answers)
    eventually("more answers", lambda: len(stream.record.answers) >= answered + 3, 60)


def verdicts(word):
    return [entry for entry in status()["history"] if entry["verdict"] == word]


def is_proved_worse(entry):
    """A rejection by live traffic: accept length is lower for sure, or decode speed is, which is watched beside it."""
    return entry["verdict"] == "Rejected" and (entry.get("upper", 1) < 1 or "ProvedSlower" in entry["reason"])


def kill_operator():
    """SIGKILL, as a node's failure would; its Deployment starts another."""
    selector = ("-n", "aurora-system", "-l", "app.kubernetes.io/name=aurora-operator")
    kubectl("delete", "pod", *selector, "--grace-period=0", "--force")


@dataclass
class Served:
    """The deployment under test, once it answers."""

    url: str
    prompts: list[str]
    seconds_to_answer: float
    failures: list[str] = field(default_factory=list)

    def answers(self):
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def traffic(self):
        return Stream.start(self.url, self.prompts, 2, 96)
