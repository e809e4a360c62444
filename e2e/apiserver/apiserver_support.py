"""Objects for a real API server, and kubectl to it."""

import copy
import json
import subprocess
from functools import cache
from pathlib import Path

import yaml
from aurora_operator.clients.cluster import Cluster
from aurora_operator.clients.connection import connect

ROOT = Path(__file__).parents[2]
GOOD = {
    "apiVersion": "aurora-operator.io/v1alpha1",
    "kind": "SpeculatorDeployment",
    "metadata": {"name": "chat", "namespace": "default"},
    "spec": {
        "mode": "ExternalWithoutDraft",
        "target": {"model": "org/model"},
        "promotion": {"prometheus": {"url": "http://prometheus.monitoring.svc:9090"}},
    },
}


def kubectl(*arguments, stdin=None):
    return subprocess.run(["kubectl", *arguments], input=stdin, check=False, capture_output=True, text=True)


KINDS = {
    "specdep": ("aurora-operator.io/v1alpha1", "SpeculatorDeployment"),
    "deployment": ("apps/v1", "Deployment"),
    "job": ("batch/v1", "Job"),
    "poddisruptionbudget": ("policy/v1", "PodDisruptionBudget"),
    "lease": ("coordination.k8s.io/v1", "Lease"),
} | {
    kind.lower(): ("v1", kind) for kind in ("Service", "ConfigMap", "Secret", "Pod", "PersistentVolumeClaim")
}  # fmt: skip


@cache
def client():
    return Cluster(connect())


def read(namespace, kind, name):
    """An object, or None where there is none; a kubectl each time would take most of what a wait lasts."""
    return client().get(*KINDS[kind], namespace, name)


def changed(path, value):
    """GOOD with one field set; None removes it."""
    body = copy.deepcopy(GOOD)
    at = body
    *way, last = path.split(".")
    for step in way:
        at = at.setdefault(step, {})
    if value is None:
        at.pop(last)
    else:
        at[last] = value
    return body


def apply(body, *arguments):
    return kubectl("apply", "--validate=strict", *arguments, "-f", "-", stdin=json.dumps(body))


def helm(*arguments):
    return subprocess.run(["helm", *arguments], check=False, capture_output=True, text=True)


def grant_the_charts_role(space, *more):
    """The chart's service account in a namespace, with its Roles and nothing else of the chart; more are values."""
    values = ("--namespace", space, "--kube-version", "1.34.0", "--set", f"watchNamespaces={{{space}}}")
    values += tuple(part for value in more for part in ("--set", value))
    rendered = helm("template", "aurora", str(ROOT / "charts" / "aurora-operator"), *values)
    assert rendered.returncode == 0, rendered.stderr
    kinds = {"ServiceAccount", "Role", "RoleBinding"}
    bodies = [body for body in yaml.safe_load_all(rendered.stdout) if body and body["kind"] in kinds]
    done = kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(bodies))
    assert done.returncode == 0, done.stderr


def with_the_charts_role(space, path):
    """A kubeconfig of that account."""
    grant_the_charts_role(space)
    config = yaml.safe_load(kubectl("config", "view", "--raw", "--minify", "--flatten").stdout)
    token = kubectl("create", "token", "aurora", "-n", space).stdout.strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path.write_text(yaml.safe_dump(config))
    return path
