"""Resident memory of an operator with one resource, in a cluster full of other owners' objects.

A real API server without kubelet and controllers. Pods, small and large ConfigMaps are stored first, a share of them
under the operator's own label, which anyone may use; then an operator that watches all namespaces starts, and makes one
resource's children. What counts is the most memory that it ever had.

Run by ``tools/workshop.sh benchmark --api-only memory``, which brings up the API server.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from aurora_core.protocol import metrics
from bench import ROOT, report
from deployed import kubectl
from fleet import served
from host import wait
from kubernetes import config
from kubernetes.dynamic import DynamicClient
from operated import Operator

NAMESPACE = "crowd"
LABELS = {"app.kubernetes.io/managed-by": "aurora-operator", "app.kubernetes.io/instance": "other"}
AT_ONCE = 8
SMALL_BYTES, LARGE_BYTES = 2_000, 1_000_000


def objects(pods: int, small: int, large: int, labelled: float) -> Iterator[dict[str, Any]]:
    """So many pods and ConfigMaps, the given share of each under the operator's label."""

    def metadata(kind: str, number: int, count: int) -> dict[str, Any]:
        return {"name": f"{kind}-{number:05d}", "labels": LABELS if number < labelled * count else {"app": "other"}}

    containers = [{"name": "main", "image": "none/none", "env": [{"name": "X", "value": "x" * 500}]}]
    for number in range(pods):
        spec = {"containers": containers, "automountServiceAccountToken": False}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata("pod", number, pods), "spec": spec}
    for kind, count, size in (("small", small, SMALL_BYTES), ("large", large, LARGE_BYTES)):
        for number in range(count):
            data = {"x": "x" * size}
            yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(kind, number, count), "data": data}


def stored(cluster: DynamicClient, bodies: Iterator[dict[str, Any]]) -> int:
    """Create them all; returns how many."""
    resources = {kind: cluster.resources.get(api_version="v1", kind=kind) for kind in ("Pod", "ConfigMap")}

    def create(body: dict[str, Any]) -> None:
        resources[body["kind"]].create(body=body, namespace=NAMESPACE)

    done = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(create, bodies):
            done += 1
            if done % 1000 == 0:
                print(f"   {done} objects are stored", flush=True)
    return done


def main() -> None:
    """All of it; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--config-maps", type=int, default=6_000, help="of 2 KB each")
    parser.add_argument("--large", type=int, default=350, help="ConfigMaps of 1 MB each")
    parser.add_argument("--labelled", type=float, default=0.5, help="share of each under the operator's own label")
    parser.add_argument("--limit", type=float, default=150.0, help="MiB; more is a failure")
    options = parser.parse_args()
    kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    wait("the CRD", served, 60)
    kubectl("create", "namespace", NAMESPACE)
    # Without controllers nobody else makes it, and no pod is taken without it.
    kubectl("create", "serviceaccount", "default", "-n", NAMESPACE)
    cluster = DynamicClient(config.new_client_from_config())
    count = stored(cluster, objects(options.pods, options.config_maps, options.large, options.labelled))
    operator = Operator.start("", Path(tempfile.mkdtemp()) / "operator.log")
    try:
        body = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
        kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=yaml.safe_dump(body))
        wait("its first Job", lambda: "-init" in kubectl("get", "jobs", "-n", NAMESPACE, "-o", "name"), 300)
        wait("five reconciles", lambda: operator.metric(str(metrics.OPERATOR_RECONCILE_SECONDS)) >= 5, 300)
        peak, resident = operator.peak_mib(), operator.resident_mib()
        broken = operator.metric(str(metrics.OPERATOR_WATCH_FAILURES))
    finally:
        operator.stop()
    print(
        f"{count} objects of others: {peak:.0f} MiB at most, {resident:.0f} MiB at the end; {broken:.0f} broken watches"
    )
    report("memory", objects=count, peak_mib=round(peak), resident_mib=round(resident), broken_watches=broken)
    if peak > options.limit:
        sys.exit(f"more than {options.limit:.0f} MiB")


if __name__ == "__main__":
    main()
