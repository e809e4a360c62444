"""How a pod template of the resource is merged into the pods that the operator renders."""

import pytest
from aurora_operator.render.merge import merge
from operator_support import a_spec, settled


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


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (None, {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}),
        ({"runAsUser": 7}, {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsUser": 7}),
        ({"privileged": True}, {"privileged": True}),
        ({"capabilities": {"add": ["NET_ADMIN"]}}, {"capabilities": {"add": ["NET_ADMIN"]}}),
    ],
)
def test_a_container_that_a_template_adds_has_no_rights_but_those_that_it_names(given, made):
    one = {"name": "side", "image": "x"} | ({} if given is None else {"securityContext": given})
    first = {**one, "name": "first"}
    template = {"spec": {"containers": [one], "initContainers": [first]}}
    _, children = settled(a_spec(serving={"podTemplate": template}, training={"podTemplate": template}))
    found = [
        container.get("securityContext")
        for body in children
        if body["kind"] in {"Deployment", "Job"}
        for field in ("containers", "initContainers")
        for container in body["spec"]["template"]["spec"].get(field, ())
        if container["name"] in {"side", "first"}
    ]
    assert len(found) == 5  # init has no sidecar
    assert all(context == made for context in found)


@pytest.mark.parametrize(
    "template",
    [
        {"spec": None},
        {"metadata": None},
        {"spec": {"securityContext": None, "automountServiceAccountToken": None, "containers": None}},
        {"spec": {"containers": [{"name": "engine", "securityContext": None, "env": None}]}},
    ],
)
def test_null_in_a_template_takes_nothing_away(template):
    """The API server drops it; what an older schema stored is read as if it had."""
    settings = ("Deployment", "chat-engine")
    plain, given = (
        next(body for body in settled(a_spec(**more))[1] if (body["kind"], body["metadata"]["name"]) == settings)
        for more in ({}, {"serving": {"podTemplate": template}})
    )
    assert given["spec"]["template"]["spec"] == plain["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("field", "base", "patch", "made"),
    [
        (
            "ports",
            [{"containerPort": 53, "name": "http"}],
            [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}],
            [{"containerPort": 53, "name": "http", "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}],
        ),
        ("containers", [], [{"name": "a", "image": "x"}, {"name": "a", "image": "y"}], None),
        ("topologySpreadConstraints", [{"topologyKey": "h"}], [{"topologyKey": "z"}, {"topologyKey": "z", "x": 1}],
         [{"topologyKey": "h"}, {"topologyKey": "z"}, {"topologyKey": "z", "x": 1}]),
    ],
)  # fmt: skip
def test_none_of_several_with_one_key_is_lost(field, base, patch, made):
    assert merge(base, patch, field) == (patch if made is None else made)
