"""The chart's files of values for clusters with rules of their own, each as such a cluster takes it."""

import json
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from apiserver_support import helm, kubectl
from chart_support import CHART, Strict, rendered

CI = sorted(Path(CHART, "ci").glob("*-values.yaml"))
"""Values of ten surroundings, as their people would write them."""


@pytest.mark.parametrize("file", CI, ids=lambda path: path.stem.removesuffix("-values"))
def test_values_of_real_surroundings_give_what_kubernetes_takes(file):
    """Given such a file, when it is rendered, then it lints, no key is there twice, every field is known, and the API
    server takes it."""
    done = helm("lint", CHART, "--strict", "--values", str(file))
    assert done.returncode == 0, done.stdout
    bodies = [body for body in yaml.load_all(rendered("--values", str(file)), Strict) if body]
    builtin = [body for body in bodies if "monitoring.coreos.com" not in body["apiVersion"]]
    for body in builtin:
        if body["kind"] != "CustomResourceDefinition":
            assert kubernetes_validate.validate(body, "1.34", strict=True) == "1.34"
    for namespace in {body["metadata"].get("namespace", "default") for body in builtin} - {"default"}:
        kubectl("create", "namespace", namespace)
    text = yaml.safe_dump_all(body for body in builtin if body["kind"] != "CustomResourceDefinition")
    done = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert done.returncode == 0, done.stderr


def with_values(name):
    """What a file of values gives, by kind; the last of each."""
    text = rendered("--values", str(Path(CHART, "ci", f"{name}-values.yaml")))
    return {body["kind"]: body for body in yaml.load_all(text, Strict) if body}


def test_what_the_surroundings_need_is_there():
    spec = with_values("openshift")["Deployment"]["spec"]["template"]["spec"]
    assert spec["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"}
    env = {one["name"]: one.get("value") for one in spec["containers"][0]["env"]}
    assert json.loads(env["AURORA_OPERATOR_POD_USER"]) == {}
    # kopf ends without the name of a user.
    assert env["USER"]
    spec = with_values("mirror-and-proxy")["Deployment"]["spec"]["template"]["spec"]
    env = {one["name"]: one.get("value") for one in spec["containers"][0]["env"]}
    assert env["AURORA_OPERATOR_ENGINE_IMAGE"].startswith("sglang.example.org/aurora-engine-cu13@sha256:")
    assert env["AURORA_OPERATOR_PULL_SECRETS"] == "mirror"
    assert json.loads(env["AURORA_OPERATOR_POD_USER"])["fsGroup"] == 65532
    assert (env["HTTPS_PROXY"], spec["imagePullSecrets"]) == ("http://proxy.example.org:3128", [{"name": "mirror"}])
    found = with_values("kube-prometheus-stack")
    assert {found[kind]["metadata"]["labels"]["release"] for kind in ("PodMonitor", "PrometheusRule")} == {"kps"}
    found = with_values("namespaced")
    assert not {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"} & found.keys()
    assert "ServiceAccount" not in with_values("locked-down")
    metadata = with_values("gitops")["Deployment"]["spec"]["template"]["metadata"]
    assert metadata["annotations"]["prometheus.io/scrape"] == "false"
    spec = with_values("high-availability")["Deployment"]["spec"]
    assert (spec["replicas"], spec["template"]["spec"]["priorityClassName"]) == (2, "system-cluster-critical")
    annotations = with_values("eks")["ServiceAccount"]["metadata"]["annotations"]
    assert annotations.keys() == {"eks.amazonaws.com/role-arn"}
    ports = [one["port"] for rule in with_values("mimir")["NetworkPolicy"]["spec"]["egress"] for one in rule["ports"]]
    assert 8080 in ports
