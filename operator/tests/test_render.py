"""The objects that are made of a resource: identity, security, volumes, configuration."""

import yaml
from aurora_core.config import DeploymentConfig, read
from aurora_operator.reconcile.drift import HASH
from aurora_operator.reconcile.plan import plan
from aurora_operator.render.identity import COMPONENT
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


def test_a_pod_template_is_merged_as_kubectl_would():
    template = {
        "spec": {
            "nodeSelector": {"gpu": "h100"},
            "containers": [{"name": "engine", "env": [{"name": "NCCL_DEBUG", "value": "INFO"}]}],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        },
        "metadata": {"labels": {"team": "a", "app.kubernetes.io/instance": "stolen"}},
    }
    _, children = settled(a_spec(serving={"podTemplate": template}))
    pod = next(c for c in children if c["metadata"]["name"] == "chat-engine")["spec"]["template"]
    engine = next(c for c in pod["spec"]["containers"] if c["name"] == "engine")
    assert pod["spec"]["nodeSelector"] == {"gpu": "h100"}
    assert {"NCCL_DEBUG", "AURORA_ADMIN_KEY"} <= {e["name"] for e in engine["env"]}
    assert {"scratch", "data"} <= {v["name"] for v in pod["spec"]["volumes"]}
    assert len(pod["spec"]["containers"]) == 2
    assert pod["metadata"]["labels"]["team"] == "a"
    assert pod["metadata"]["labels"]["app.kubernetes.io/instance"] == "chat"


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
    assert pod["metadata"]["annotations"] == {"team": "a"}
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
        assert term["labelSelector"]["matchLabels"] == {"app.kubernetes.io/instance": "chat"}
