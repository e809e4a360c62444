"""The chart renders what a real API server takes, asks for no more rights than it uses, and refuses bad values."""

import json
import shutil
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from apiserver_support import helm, kubectl
from aurora_operator.render.identity import KEPT
from chart_support import CHART, of_kind, rendered


def test_it_lints():
    done = helm("lint", CHART, "--strict")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("watchNamespaces={default,kube-public}",),
        ("networkPolicy.enabled=false",),
        ("ray.enabled=true",),
        ("mooncake.enabled=true",),
        ("routes.enabled=true",),
        ("replicas=2",),
        ("dashboards.enabled=true",),
        (
            "priorityClassName=system-cluster-critical",
            "podLabels.team=ml",
            "podAnnotations.a=b",
            "fullnameOverride=other",
        ),
        ("podSecurityContext.runAsUser=null", "podSecurityContext.runAsGroup=null", "extraEnv[0].name=HTTPS_PROXY"),
    ],
)
def test_the_api_server_takes_it(values):
    text = rendered("--set", "crds.install=false", *(part for value in values for part in ("--set", value)))
    done = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("version", [f"1.{minor}" for minor in range(31, 38)])
def test_kubernetes_knows_every_field(version):
    values = (
        "--set",
        "dashboards.enabled=true,mooncake.enabled=true,crds.install=false",
        "--kube-version",
        f"{version}.0",
    )
    bodies = [body for body in yaml.safe_load_all(rendered(*values)) if body]
    assert {"Deployment", "NetworkPolicy", "ClusterRole"} <= {body["kind"] for body in bodies}
    for body in bodies:
        assert kubernetes_validate.validate(body, version, strict=True) == version


def test_a_namespaced_installation_has_no_cluster_wide_rights():
    bodies = [body for body in yaml.safe_load_all(rendered("--set", "watchNamespaces={team-a,team-b}")) if body]
    assert "ClusterRoleBinding" not in {body["kind"] for body in bodies}
    for kind in ("Role", "RoleBinding"):
        assert {"team-a", "team-b", "default"} == {b["metadata"]["namespace"] for b in bodies if b["kind"] == kind}
    roles = [body for body in bodies if body["kind"] == "ClusterRole"]
    assert all("rbac.authorization.k8s.io/aggregate-to-admin" in body["metadata"]["labels"] for body in roles)


def test_people_with_view_edit_and_admin_may_see_and_write_resources():
    for body in yaml.safe_load_all(rendered()):
        name = "speculatordeployments"
        if body and body["kind"] == "ClusterRole" and body["metadata"]["name"].endswith(("-view", "-edit")):
            verbs = {verb for rule in body["rules"] if name in rule["resources"] for verb in rule["verbs"]}
            labels = body["metadata"]["labels"]
            viewing = labels.get("rbac.authorization.k8s.io/aggregate-to-view") == "true"
            assert viewing == (verbs == {"get", "list", "watch"})
            assert labels["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert not [b for b in yaml.safe_load_all(rendered("--set", "aggregatedRoles.enabled=false"))
                if b and "aggregate" in str(b["metadata"].get("labels"))]  # fmt: skip


def test_the_operators_network_policy_names_who_may_reach_it_and_whom_it_may_reach():
    (policy,) = [b for b in yaml.safe_load_all(rendered()) if b and b["kind"] == "NetworkPolicy"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    ports = {rule["ports"][0]["port"]: rule for rule in policy["spec"]["ingress"]}
    assert ports[9100]["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    ]
    open_to_all = [rule["ports"] for rule in policy["spec"]["egress"] if not rule.get("to")]
    assert [[one["port"] for one in found] for found in open_to_all] == [[53, 53]]
    blocks = [p["ipBlock"] for rule in policy["spec"]["egress"] for p in rule.get("to", []) if "ipBlock" in p]
    assert all(block["except"] for block in blocks)


def test_no_right_is_a_wildcard_and_secrets_are_never_listed_or_deleted():
    for body in yaml.safe_load_all(rendered()):
        for rule in (body or {}).get("rules", []):
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            if "secrets" in rule["resources"]:
                assert not {"list", "watch", "delete"} & set(rule["verbs"])


def test_the_crd_is_upgraded_by_the_chart_and_kept_by_helm_argo_cd_and_flux_when_it_goes():
    crds = [b for b in yaml.safe_load_all(rendered()) if b and b["kind"] == "CustomResourceDefinition"]
    assert len(crds) == 1
    assert crds[0]["metadata"]["annotations"] == KEPT


@pytest.mark.parametrize(
    "value",
    [
        "images.pullPolicy=Sometimes",
        "podMonitor.interval=often",
        "replicas=9",
        "watchNamespaces={Not_A_Name}",
        "images.registry=",
        "deployments.runAsUser=0",
        "images.engine.digest=latest",
        "extraEnv[0].name=AURORA_OPERATOR_LEASE",
        "extraEnv[0].value=nameless",
        "podLabels.number=7",
    ],
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


def test_the_dashboards_are_shipped_unchanged():
    found = {b["metadata"]["name"]: b["data"] for b in yaml.safe_load_all(rendered("--set", "dashboards.enabled=true"))
             if b and b["kind"] == "ConfigMap"}  # fmt: skip
    shipped = {f"aurora-dashboard-{path.stem}": path.read_text() for path in Path(CHART, "dashboards").glob("*.json")}
    assert {name: text for name, data in found.items() for text in data.values() if name in shipped} == shipped
    assert len(shipped) == 3


def test_the_rules_are_shipped_unchanged():
    rules = Path(CHART, "rules", "aurora.yaml")
    values = ("--set", "prometheusRule.enabled=true")
    wrapped = next(b for b in yaml.safe_load_all(rendered(*values)) if b and b["kind"] == "PrometheusRule")
    assert wrapped["spec"] == yaml.safe_load(rules.read_text())


def test_pages_of_alerts_can_be_elsewhere():
    values = ("--set", "prometheusRule.enabled=true,prometheusRule.runbooks=https://wiki.example.org/aurora/")
    wrapped = next(b for b in yaml.safe_load_all(rendered(*values)) if b and b["kind"] == "PrometheusRule")
    alerts = [rule for group in wrapped["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    expected = [f"https://wiki.example.org/aurora/{alert['alert']}.md" for alert in alerts]
    assert [alert["annotations"]["runbook_url"] for alert in alerts] == expected


@pytest.mark.parametrize(
    ("kind", "values", "at", "expected"),
    [
        ("Deployment", (r"podAnnotations.prometheus\.io/scrape=no",), "spec.template.metadata.annotations",
         {"prometheus.io/scrape": "no", "prometheus.io/port": "9100"}),
        ("PodMonitor", ("podMonitor.enabled=true", r"podMonitor.labels.app\.kubernetes\.io/instance=kps"),
         "metadata.labels", {"app.kubernetes.io/instance": "kps"}),
        ("PrometheusRule", ("prometheusRule.enabled=true", r"prometheusRule.labels.app\.kubernetes\.io/name=x"),
         "metadata.labels", {"app.kubernetes.io/name": "x"}),
        ("ConfigMap", ("dashboards.enabled=true", r"dashboards.labels.app\.kubernetes\.io/name=x"),
         "metadata.labels", {"app.kubernetes.io/name": "x"}),
        ("Deployment", (r"podLabels.app\.kubernetes\.io/name=x", "podLabels.team=ml"), "spec.template.metadata.labels",
         {"app.kubernetes.io/name": "aurora-operator", "team": "ml"}),
    ],
)  # fmt: skip
def test_a_key_of_values_that_the_chart_has_too_is_there_once(kind, values, at, expected):
    found = of_kind(kind, *values)
    for part in at.split("."):
        found = found[part]
    assert found.items() >= expected.items()


def test_each_image_may_come_from_elsewhere():
    digest = "sha256:" + 64 * "a"
    body = of_kind(
        "Deployment",
        "images.registry=mirror.example.org/aurora",
        "images.tag=v1",
        "images.engine.registry=sglang.example.org",
        "images.engine.repository=engine",
        f"images.trainer.digest={digest}",
        "images.operator.tag=v2",
    )
    (container,) = body["spec"]["template"]["spec"]["containers"]
    env = {one["name"]: one.get("value") for one in container["env"]}
    assert container["image"] == "mirror.example.org/aurora/aurora-operator:v2"
    assert env["AURORA_OPERATOR_ENGINE_IMAGE"] == "sglang.example.org/engine:v1"
    assert env["AURORA_OPERATOR_TRAINER_IMAGE"] == f"mirror.example.org/aurora/aurora-trainer@{digest}"


def test_the_pod_fits_clusters_with_rules_of_their_own():
    body = of_kind(
        "Deployment",
        "podSecurityContext.runAsUser=null",
        "podSecurityContext.runAsGroup=null",
        "securityContext.seccompProfile.type=RuntimeDefault",
        "priorityClassName=high",
        "extraEnv[0].name=HTTPS_PROXY,extraEnv[0].value=http://proxy:3128",
        "serviceAccount.name=mine",
    )
    spec = body["spec"]["template"]["spec"]
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert spec["containers"][0]["securityContext"].keys() > {"seccompProfile"}
    assert (spec["priorityClassName"], spec["serviceAccountName"]) == ("high", "mine")
    assert {"name": "HTTPS_PROXY", "value": "http://proxy:3128"} in spec["containers"][0]["env"]


def test_rights_are_bound_to_the_service_account_whose_name_and_annotations_values_give():
    values = ("serviceAccount.name=mine", r"serviceAccount.annotations.eks\.amazonaws\.com/role-arn=arn")
    text = rendered(*(part for value in values for part in ("--set", value)))
    bodies = [body for body in yaml.safe_load_all(text) if body]
    (account,) = [body for body in bodies if body["kind"] == "ServiceAccount"]
    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": "arn"}
    subjects = {one["name"] for body in bodies if "subjects" in body for one in body["subjects"]}
    assert subjects == {account["metadata"]["name"]} == {"mine"}
    existing = rendered("--set", "serviceAccount.create=false,serviceAccount.name=mine")
    assert "kind: ServiceAccount\n" not in existing


@pytest.mark.parametrize("enabled", [True, False])
def test_a_parent_chart_can_leave_it_out(tmp_path, enabled):
    parent = tmp_path / "parent"
    shutil.copytree(CHART, parent / "charts" / "aurora-operator")
    dependency = {"name": "aurora-operator", "version": "0.1.0", "condition": "aurora-operator.enabled"}
    chart = {"apiVersion": "v2", "name": "parent", "version": "0.1.0", "dependencies": [dependency]}
    (parent / "Chart.yaml").write_text(json.dumps(chart))
    (parent / "values.yaml").write_text(json.dumps({"aurora-operator": {"enabled": enabled}}))
    done = helm("template", "aurora", str(parent), "--kube-version", "1.34.0")
    assert done.returncode == 0, done.stderr
    assert ("kind: Deployment" in done.stdout) == enabled


def test_enabled_false_without_a_parent_is_refused_rather_than_ignored():
    done = helm("template", "aurora", CHART, "--kube-version", "1.34.0", "--set", "enabled=false")
    assert done.returncode != 0
    assert "only in a parent chart" in done.stderr
