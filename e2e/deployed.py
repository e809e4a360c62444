"""The quickstart's SpeculatorDeployment, as a person with kubectl sees and changes it."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from machine import patience
from workshop.waiting import wait

NAME = "smollm2"
MODEL = f"{NAME}-model"
"""The claim with its target."""
DAMAGED = Path(__file__).parent / "damaged.py"


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Run kubectl to success."""
    done = subprocess.run(["kubectl", *arguments], check=False, capture_output=True, text=True, input=stdin)
    if done.returncode:
        sys.exit(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def resource() -> dict[str, Any]:
    """The SpeculatorDeployment."""
    found: dict[str, Any] = json.loads(kubectl("get", "specdep", NAME, "-o", "json"))
    return found


def status() -> dict[str, Any]:
    """Its status."""
    found: dict[str, Any] = resource()["status"]
    return found


def decisions(version: int, *words: str) -> list[dict[str, Any]]:
    """A version's verdicts of these words, newest first."""
    return [e for e in status()["history"] if e["version"] == version and e["verdict"] in words]


def condition(kind: str) -> dict[str, Any]:
    """A condition of its status, Unknown before it is reported."""
    conditions = resource().get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {"status": "Unknown", "reason": "", "message": ""})


def patch(spec: dict[str, Any]) -> None:
    """Change its spec."""
    kubectl("patch", "specdep", NAME, "--type=merge", "-p", json.dumps({"spec": spec}))


def annotate(word: str, version: int) -> None:
    """Decide manually: promote, reject or rollback."""
    kubectl("annotate", "--overwrite", "specdep", NAME, f"aurora-operator.io/{word}={version}")


def url(service: str = NAME, *where: str) -> str:
    """Where a Service answers, for who is in the cluster's network; ``where`` are kubectl's options, such as -n."""
    path = "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}"
    return "http://" + kubectl("get", "service", service, *where, "-o", path)


@contextlib.contextmanager
def forwarded(service: str = NAME, port: str = "http", *where: str) -> Iterator[str]:
    """Where a Service answers meanwhile, for anyone who has kubectl."""
    command = ["kubectl", "port-forward", *where, f"service/{service}", f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            # Forwarding from 127.0.0.1:40123 -> 30000
            reported = child.stdout.readline() if child.stdout else ""
            if "127.0.0.1:" not in reported:
                sys.exit(f"{' '.join(command)} reported no port: {reported}")
            yield "http://" + reported.split()[2]
        finally:
            child.terminate()


def pods(component: str) -> dict[str, dict[str, Any]]:
    """Its pods of a component, by name."""
    chosen = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component={component}"
    items = json.loads(kubectl("get", "pods", "-l", chosen, "-o", "json"))["items"]
    return {pod["metadata"]["name"]: pod for pod in items}


def quieten() -> None:
    """Training publishes nothing more; ends once the trainer that was reported so runs, and nothing is on trial."""
    before = pods("trainer")
    patch({"training": {"hyperparameters": {"publishMinGain": 100}}})

    def quiet() -> bool:
        candidate = status().get("candidate")
        if candidate:
            annotate("reject", candidate["version"])
        now = pods("trainer")
        phases = [pod["status"]["phase"] for pod in now.values()]
        return phases == ["Running"] and not before.keys() & now.keys() and not candidate

    wait("a trainer that publishes nothing", quiet, patience(180), every=2)


def publish_copy(version: int, damage: str | None = None) -> int:
    """Publish a copy of a version on its volume, intact or damaged; returns the copy's version."""
    words = ["python", "-", str(version), *([damage] if damage else [])]
    (trainer,) = pods("trainer")
    return int(kubectl("exec", "-i", trainer, "--", *words, stdin=DAMAGED.read_text()))
