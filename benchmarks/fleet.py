"""One operator and many resources: what it takes of a core, of memory and of the API server, and how fast it repairs.

A real API server without kubelet and controllers: all children are there, and no pod ever runs. That is the operator's
own part of the work; reading agents comes on top. Prometheus first refuses at once, then it hangs, which must keep no
resource waiting for another's answer. The time from an event to a decision is measured by the operator itself, while
resources are annotated one after another.

Run by tools/fleet.sh, which brings up the API server.
"""

import argparse
import json
import math
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from aurora_core.protocol import metrics
from bench import ROOT, report
from deployed import kubectl
from host import Host, wait
from kubernetes import config
from kubernetes.dynamic import DynamicClient
from operated import Operator
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families

NAMESPACE = "fleet"
SELECTOR = "app.kubernetes.io/managed-by=aurora-operator"
CHILDREN = "deployments,jobs,services,configmaps,secrets,persistentvolumeclaims"
EACH = 8
"""Children of those kinds that a resource of the example has."""


def names(kinds: str) -> set[str]:
    """kind/name of all of the operator's objects of these kinds."""
    return set(kubectl("get", kinds, "-n", NAMESPACE, "-l", SELECTOR, "-o", "name").split())


def served() -> bool:
    """Whether the API server serves the CRD."""
    return "speculatordeployments" in kubectl("api-resources", "--api-group=aurora-operator.io", "-o", "name")


def is_there(service: str) -> bool:
    """Whether the operator's Service of this name exists."""
    return service in names("services")


@contextmanager
def silent() -> Iterator[str]:
    """The URL of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def apply(count: int, prometheus: str) -> None:
    """The example, so many times."""
    body = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
    body["spec"]["promotion"]["prometheus"] = {"url": prometheus}
    items: list[dict[str, Any]] = [body | {"metadata": {"name": f"speculator-{i}"}} for i in range(count)]
    listed = {"apiVersion": "v1", "kind": "List", "items": items}
    kubectl("apply", "-n", NAMESPACE, "--server-side", "-f", "-", stdin=json.dumps(listed))


def watched(operator: Operator, seconds: float) -> dict[str, Any]:
    """What steady state takes."""
    reconciles, made = str(metrics.OPERATOR_RECONCILE_SECONDS), str(metrics.OPERATOR_REQUESTS)
    requests, cpu = operator.metric(made), operator.cpu_seconds()
    seen, writes = operator.metric(reconciles), operator.metric(str(metrics.OPERATOR_WRITES))
    began = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    done = operator.metric(reconciles) - seen
    requests, cpu = operator.metric(str(metrics.OPERATOR_REQUESTS)) - requests, operator.cpu_seconds() - cpu
    return {
        "core_share": round(cpu / took, 3),
        "cpu_milliseconds_per_reconcile": round(1000 * cpu / done, 1),
        "reconciles_per_second": round(done / took, 2),
        "api_requests_per_second": round(requests / took, 1),
        "writes": operator.metric(str(metrics.OPERATOR_WRITES)) - writes,
        "resident_mib": round(operator.resident_mib()),
        "peak_mib": round(operator.peak_mib()),
    }


def repairs(count: int, times: int) -> list[float]:
    """Seconds until a deleted Service was back, of different resources."""
    out = []
    for i in range(times):
        service = f"service/speculator-{i * count // times}"
        kubectl("delete", service, "-n", NAMESPACE, "--wait=false")
        began = time.monotonic()
        wait(f"{service} again", partial(is_there, service), 120, every=0.05)
        out.append(round(time.monotonic() - began, 2))
    return out


def reactions(operator: Operator) -> dict[float, float]:
    """How many reconciles so far took in an event within so many seconds."""
    families = text_string_to_metric_families(operator.metrics())
    found = next(family for family in families if family.name == metrics.OPERATOR_REACTION_SECONDS.name)
    return {float(s.labels["le"]): s.value for s in found.samples if s.name.endswith("_bucket")}


def decisions(operator: Operator, cluster: DynamicClient, count: int, events: int) -> dict[str, float]:
    """How soon so many annotations were taken in by a reconcile that ended.

    Each resource has one at a time: a reconcile takes in all events of its resource, and is measured once.
    """
    kind = cluster.resources.get(api_version="aurora-operator.io/v1alpha1", kind="SpeculatorDeployment")
    before = reactions(operator)

    def taken() -> dict[float, float]:
        return {bound: value - before[bound] for bound, value in reactions(operator).items()}

    for first in range(0, events, count):
        due = min(events, first + count)
        began = taken()[math.inf]
        for i in range(first, due):
            cluster.patch(
                kind,
                body={"metadata": {"annotations": {"example.com/event": f"{time.time_ns()}"}}},
                name=f"speculator-{i % count}",
                namespace=NAMESPACE,
                content_type="application/merge-patch+json",
            )
            time.sleep(0.05)
        desired = began + due - first
        wait(f"{due} events to be taken in", partial(_reached, taken, desired), 120)
    found = taken()
    everything = found[math.inf]
    return {
        "events": everything,
        "within_1_s": round(found[1.0] / everything, 4),
        "within_2_s": round(found[2.0] / everything, 4),
        "p99_at_most_seconds": min(bound for bound, value in found.items() if value >= 0.99 * everything),
    }


def _reached(taken: Callable[[], dict[float, float]], desired: float) -> bool:
    return taken()[math.inf] >= desired


def prepared(cluster: DynamicClient) -> None:
    """What the Job controller would say of Jobs that fetched the target, where there is none."""
    jobs = cluster.resources.get(api_version="batch/v1", kind="Job")
    for job in names("jobs.batch"):
        cluster.patch(
            jobs.status,
            body={"status": {"succeeded": 1}},
            name=job.rpartition("/")[2],
            namespace=NAMESPACE,
            content_type="application/merge-patch+json",
        )


def main() -> None:
    """All of it; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resources", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=120, help="of steady state that are watched")
    parser.add_argument("--events", type=int, default=200, help="whose time to a decision is measured")
    parser.add_argument("--repairs", type=int, default=20)
    log = Host().state / "log" / "operator.log"
    parser.add_argument("--log", type=Path, default=log, help="of the operator")
    options = parser.parse_args()
    count = options.resources
    kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    wait("the CRD", served, 60)
    kubectl("create", "namespace", NAMESPACE)
    operator = Operator.start(NAMESPACE, options.log)
    try:
        apply(count, f"http://127.0.0.1:{free_port()}")
        wait("all jobs", lambda: len(names("jobs")) == count, 600)
        cluster = DynamicClient(config.new_client_from_config())
        prepared(cluster)
        wait("all children", lambda: len(names(CHILDREN)) == EACH * count, 600)
        print(f"{count} resources have their {EACH} children", flush=True)
        time.sleep(15)
        refused = watched(operator, options.seconds) | decisions(operator, cluster, count, options.events)
        refused |= {"repair_seconds": repairs(count, options.repairs)}
        print(f"Prometheus refuses: {refused}", flush=True)
        with silent() as address:
            apply(count, address)
            time.sleep(30)
            hanging = watched(operator, options.seconds) | decisions(operator, cluster, count, options.events)
            hanging |= {"repair_seconds": repairs(count, options.repairs)}
    finally:
        operator.stop()
    for name, figures in (("Prometheus refuses", refused), ("Prometheus hangs", hanging)):
        found: Any = figures["repair_seconds"]
        print(f"{name}: repairs median {statistics.median(found)} s, longest {max(found)} s; {figures}")
    report("fleet", resources=count, refused=refused, hanging=hanging)


if __name__ == "__main__":
    main()
