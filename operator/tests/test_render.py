"""The objects that are made of a resource: identity, security, volumes, configuration."""

from dataclasses import replace

import pytest
import yaml
from aurora_core.config import DeploymentConfig, read
from aurora_operator.errors import OperatorError
from aurora_operator.reconcile.drift import HASH
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.snapshot import key
from aurora_operator.render import config, training
from aurora_operator.render.identity import COMPONENT, Resource
from aurora_operator.settings import Settings
from operator_support import a_snapshot, a_spec, settled


def test_pods_run_as_nobody_with_nothing_to_write_but_volumes():
    _, children = settled()
    for body in children:
        if body["kind"] not in {"Deployment", "Job"}:
            continue
        pod = body["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_gpus_follow_from_the_tensor_parallel_size():
    _, children = settled(a_spec(serving={"tensorParallelSize": 4}))
    engine = next(c for c in children if c["metadata"]["name"] == "chat-engine")
    limits = {c["name"]: c["resources"].get("limits") for c in engine["spec"]["template"]["spec"]["containers"]}
    assert limits == {"engine": {"nvidia.com/gpu": "4"}, "agent": None}


def test_agent_and_init_have_requests_so_that_a_quota_lets_them_in():
    _, children = settled(a_spec())
    agent = next(
        one
        for child in children
        if child["metadata"]["name"] == "chat-engine"
        for one in child["spec"]["template"]["spec"]["containers"]
        if one["name"] == "agent"
    )
    (init,) = (child for child in children if child["metadata"]["name"] == "chat-init")
    for container in (agent, *init["spec"]["template"]["spec"]["containers"]):
        assert container["resources"].keys() == {"requests"}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    _, children = settled(a_spec(training={"resources": {"limits": {"memory": "4Gi"}}}))
    (init,) = (child for child in children if child["metadata"]["name"] == "chat-init")
    assert init["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": {"memory": "4Gi"}}


def test_the_init_pod_runs_where_and_as_the_trainer_does_without_its_sidecars_and_gpus():
    proxy = {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}
    gpu = {"limits": {"nvidia.com/gpu": "8"}}
    template = {
        "metadata": {"annotations": {"team": "a"}},
        "spec": {
            "nodeSelector": {"gpu": "h100"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "imagePullSecrets": [{"name": "registry"}],
            "containers": [{"name": "trainer", "env": [proxy], "resources": gpu}, {"name": "logs", "image": "logs:1"}],
        },
    }
    memory = {"requests": {"memory": "4Gi"}}
    spec = a_spec(training={"podTemplate": template, "resources": memory})
    init = next(b for b in plan(a_snapshot(spec)).apply if b["kind"] == "Job")
    pod = init["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert (init["metadata"]["name"], container["name"], container["resources"]) == ("chat-init", "init", memory)
    assert proxy in container["env"]
    assert {"name": "HOME", "value": "/run/aurora"} in container["env"]
    assert {key: pod["spec"][key] for key in ("nodeSelector", "tolerations", "imagePullSecrets")} == {
        key: template["spec"][key] for key in ("nodeSelector", "tolerations", "imagePullSecrets")
    }
    assert pod["metadata"]["annotations"].items() >= {"team": "a"}.items()
    assert pod["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"
    assert pod["metadata"]["labels"][COMPONENT] == "init"


def test_the_configuration_is_what_the_processes_read(tmp_path):
    _, children = settled()
    data = next(c for c in children if c["metadata"]["name"] == "chat-config")["data"]
    for name, text in data.items():
        (tmp_path / name).write_text(text)
        config = read(tmp_path / name, DeploymentConfig)
        assert config.target.model == "org/model"
    assert yaml.safe_load(data["engine.yaml"])["serving"]["port"] == 30000


def test_every_object_carries_the_hash_of_what_was_rendered():
    _, children = settled()
    assert all(len(c["metadata"]["annotations"][HASH]) == 16 for c in children)


def affinities(snapshot):
    bodies = [body for body in snapshot.children.values() if body["kind"] in {"Deployment", "Job"}]
    assert len(bodies) == 3
    return [body["spec"]["template"]["spec"].get("affinity") for body in bodies]


def test_pods_that_can_only_share_a_node_do():
    snapshot, _ = settled()
    assert affinities(snapshot) == [None] * 3
    snapshot, _ = settled(a_spec(weights={"template": {"accessMode": "ReadWriteOnce"}}))
    for affinity in affinities(snapshot):
        (term,) = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        # A Helm release of the same name has the first of these labels alone.
        assert term["labelSelector"]["matchLabels"] == {
            "app.kubernetes.io/instance": "chat",
            "app.kubernetes.io/name": "aurora",
            "app.kubernetes.io/managed-by": "aurora-operator",
        }


def templates(snapshot):
    """Pod templates by the name of what makes them."""
    bodies = [body for body in snapshot.children.values() if body["kind"] in {"Deployment", "Job"}]
    return {body["metadata"]["name"]: body["spec"]["template"] for body in bodies}


def test_pods_that_share_a_node_match_their_own_affinity():
    """Otherwise the first of them could never be scheduled."""
    snapshot, _ = settled(a_spec(weights={"template": {"accessMode": "ReadWriteOnce"}}))
    for template in templates(snapshot).values():
        (term,) = template["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


def budget(spec):
    _, children = settled(spec)
    return next((body["spec"] for body in children if body["kind"] == "PodDisruptionBudget"), None)


def test_a_budget_blocks_no_drain_that_it_cannot_help():
    two = {"replicas": 2}
    assert budget(a_spec(serving=two))["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert budget(a_spec()) is None
    # The first pod could only come back to the node that is drained, so the second one would never be allowed to go.
    assert budget(a_spec(serving=two, weights={"template": {"accessMode": "ReadWriteOnce"}})) is None


def test_services_have_addresses_of_both_families_where_the_cluster_has_both():
    _, children = settled(a_spec(training={"nodes": 2}, samples={"transport": "Mooncake"}))
    services = [body for body in children if body["kind"] == "Service"]
    assert {body["metadata"]["name"] for body in services} == {"chat", "chat-trainer", "chat-ranks"}
    assert {body["spec"]["ipFamilyPolicy"] for body in services} == {"PreferDualStack"}


def init_template(spec, **more):
    return next(
        body["spec"]["template"]["spec"]
        for body in plan(a_snapshot(spec, **more)).apply
        if body["metadata"]["name"] == "chat-init"
    )


def test_where_all_pods_follow_the_init_pod_it_asks_for_what_engines_need():
    """Given a volume that is made where its first pod runs, for one node, then that node has the engines' GPUs."""
    one = {"template": {"accessMode": "ReadWriteOnce"}}
    toleration = {"key": "gpu", "operator": "Exists"}
    node = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
    where = {"nodeSelector": {"zone": "a"}, "tolerations": [toleration], "affinity": node}
    serving = {"tensorParallelSize": 2, "podTemplate": {"spec": where}}
    training = {"podTemplate": {"spec": {"nodeSelector": {"disk": "ssd"}}}}
    pod = init_template(a_spec(serving=serving, training=training, weights=one))
    assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert pod["nodeSelector"] == {"zone": "a", "disk": "ssd"}
    assert pod["tolerations"] == [toleration]
    assert pod["affinity"].keys() == {"podAffinity", "nodeAffinity"}
    mig = {"resources": {"limits": {"nvidia.com/mig-3g.40gb": "1"}}}
    pod = init_template(a_spec(serving=mig, weights=one))
    assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/mig-3g.40gb": "1"}
    for spec in (a_spec(serving=serving), a_spec(serving={"device": "cpu"}, weights=one)):
        pod = init_template(spec)
        assert "limits" not in pod["containers"][0]["resources"]
        assert "nodeSelector" not in pod


def test_an_init_pod_does_not_wait_for_gpus_that_engines_hold():
    """Given engines, when the claim was replaced or the finished Job cleaned up, then it asks for no GPU."""
    spec = a_spec(weights={"template": {"accessMode": "ReadWriteOnce"}})
    _, children = settled(spec)
    pod = init_template(spec, children=[body for body in children if body["metadata"]["name"] != "chat-init"])
    assert "limits" not in pod["containers"][0]["resources"]


def test_all_pods_take_user_and_pull_secrets_from_the_operator(monkeypatch):
    for name, value in {
        "ENGINE_IMAGE": "e",
        "TRAINER_IMAGE": "t",
        "PULL_SECRETS": "mirror,second",
        # As Helm writes a large number.
        "POD_USER": '{"fsGroup": 1.00066e+09}',
    }.items():
        monkeypatch.setenv(f"AURORA_OPERATOR_{name}", value)
    snapshot, _ = settled()
    assert {t["spec"]["securityContext"]["runAsUser"] for t in templates(snapshot).values()} == {65532}
    assert not any("imagePullSecrets" in t["spec"] for t in templates(snapshot).values())
    ours = Settings.from_environment().images
    own = [body for body in snapshot.children.values() if body["metadata"]["name"] in {"chat-init", "chat-keys"}]
    made = plan(replace(snapshot, images=ours, children={key(body): body for body in own})).apply
    pods = [body["spec"]["template"]["spec"] for body in made if body["kind"] in {"Deployment", "Job"}]
    assert len(pods) == 2
    for pod in [*pods, training.init_job(snapshot.resource, ours)["spec"]["template"]["spec"]]:
        assert pod["imagePullSecrets"] == [{"name": "mirror"}, {"name": "second"}]
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "fsGroup": 1000660000,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }


def test_every_container_has_a_user_s_name_for_libraries_that_ask():
    """Given a user that the cluster assigns, as OpenShift does, there is no entry of it in /etc/passwd."""
    snapshot, _ = settled()
    for template in templates(snapshot).values():
        for one in template["spec"]["containers"]:
            assert {"name": "USER", "value": "aurora"} in one["env"]


@pytest.mark.parametrize("value", ['{"runAsUser": 0}', '{"runAsRoot": 1}', "nobody"])
def test_pods_are_never_root_and_a_strange_user_ends_the_operator(monkeypatch, value):
    for name, given in {"ENGINE_IMAGE": "e", "TRAINER_IMAGE": "t", "POD_USER": value}.items():
        monkeypatch.setenv(f"AURORA_OPERATOR_{name}", given)
    with pytest.raises(OperatorError, match="AURORA_OPERATOR_POD_USER"):
        Settings.from_environment()


def test_a_configuration_is_written_as_yaml_once_however_often_it_is_rendered(monkeypatch):
    written, dump = [], yaml.safe_dump
    monkeypatch.setattr(yaml, "safe_dump", lambda part, **more: written.append(part) or dump(part, **more))
    resource = Resource("once", "ns", "u-1", a_spec(target={"model": "org/once"}))
    first, second = (config.config_map(resource)["data"] for _ in range(2))
    assert first == second
    assert len(written) == 2
