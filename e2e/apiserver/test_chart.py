"""The chart renders what a real API server takes, asks for no more rights than it uses, and refuses bad values."""

import subprocess

import pytest
import yaml
from conftest import ROOT, kubectl

CHART = str(ROOT / "charts" / "aurora-operator")


def helm(*arguments):
    return subprocess.run(["helm", *arguments], check=False, capture_output=True, text=True)


def rendered(*values):
    done = helm("template", "aurora", CHART, "--namespace", "default", "--kube-version", "1.34.0", *values)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_lints():
    done = helm("lint", CHART, "--strict")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("values", [(), ("--set", "watchNamespace=default"), ("--set", "networkPolicy.enabled=false")])
def test_the_api_server_takes_it(values):
    text = rendered("--set", "crds.install=false", *values)
    done = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert done.returncode == 0, done.stderr


def test_a_namespaced_installation_has_no_cluster_wide_rights():
    kinds = {body["kind"] for body in yaml.safe_load_all(rendered("--set", "watchNamespace=team")) if body}
    assert not {"ClusterRole", "ClusterRoleBinding"} & kinds
    assert {"Role", "RoleBinding"} <= kinds


def test_no_right_is_a_wildcard_and_secrets_are_never_deleted():
    for body in yaml.safe_load_all(rendered()):
        for rule in (body or {}).get("rules", []):
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            if "secrets" in rule["resources"]:
                assert "delete" not in rule["verbs"]


def test_the_crd_is_upgraded_by_the_chart_and_kept_when_it_goes():
    crds = [b for b in yaml.safe_load_all(rendered()) if b and b["kind"] == "CustomResourceDefinition"]
    assert len(crds) == 1
    assert crds[0]["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize(
    "value", ["images.pullPolicy=Sometimes", "podMonitor.interval=often", "replicas=2", "images.registry="]
)
def test_bad_values_are_refused(value):
    assert helm("template", "aurora", CHART, "--kube-version", "1.34.0", "--set", value).returncode != 0


def test_the_operator_runs_restricted():
    kubectl("create", "namespace", "restricted")
    try:
        level = "pod-security.kubernetes.io/enforce=restricted"
        kubectl("label", "namespace", "restricted", level)
        text = rendered("--set", "crds.install=false").replace("namespace: default", "namespace: restricted")
        done = kubectl("apply", "--dry-run=server", "-f", "-", stdin=text)
        assert done.returncode == 0, done.stderr
        assert "would violate PodSecurity" not in done.stderr
    finally:
        kubectl("delete", "namespace", "restricted", "--wait=false")
