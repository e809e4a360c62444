"""What an upgrade of the operator restarts is known before it does, and what restarts nothing is not called that."""

import copy
import json

import pytest
from aurora_operator.cli.kubectl import Answer, Failure
from aurora_operator.cli.upgrade import changes, changes_of_ray, running_images
from aurora_operator.reconcile.drift import HASH
from aurora_operator.render import ray
from aurora_operator.render.identity import NOBODY, Resource
from operator_support import IMAGES, a_spec, as_applied, settled

RESOURCES = {"limits": {"memory": "1024Mi", "cpu": "1.0"}}


@pytest.fixture
def objects():
    """Engines and trainer as rendered, by name."""
    _, children = settled(a_spec(serving={"resources": RESOURCES}))
    return {body["metadata"]["name"]: body for body in children if body["metadata"]["name"] != "chat-init"}


def earlier(body, change):
    """As an earlier version applied an object: otherwise, and so with another hash."""
    live = copy.deepcopy(body)
    live["metadata"]["annotations"][HASH] = "0123456789abcdef"
    change(live["spec"]["template"])
    del live["metadata"]["managedFields"]
    return as_applied(live)


def rendered(body):
    """As this version makes it, before it is stamped."""
    found = copy.deepcopy(body)
    del found["metadata"]["managedFields"]
    return found


def container(template):
    return template["spec"]["containers"][0]


@pytest.mark.parametrize("name", ["chat-engine", "chat-trainer"])
def test_what_this_version_made_does_not_restart(objects, name):
    assert changes(rendered(objects[name]), earlier(objects[name], lambda _: None)) == []


@pytest.mark.parametrize("name", ["chat-engine", "chat-trainer"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda pod: container(pod).update(image="registry/older:1"), "spec.containers[{}].image"),
        (lambda pod: pod["metadata"]["annotations"].update({"aurora-operator.io/config": "0"}),
         "metadata.annotations[aurora-operator.io/config]"),
        (lambda pod: pod["spec"].pop("volumes"), "spec.volumes"),
        (lambda pod: container(pod)["env"].pop(), "spec.containers[{}].env[{}]"),
        (lambda pod: container(pod)["env"].append({"name": "GONE", "value": "1"}), "spec.containers[{}].env[GONE]"),
        (lambda pod: pod["spec"].update(hostAliases=[{"ip": "10.0.0.1"}]), "spec.hostAliases"),
    ],
)  # fmt: skip
def test_each_change_of_a_pod_is_named(objects, name, change, expected):
    body = objects[name]
    own = body["spec"]["template"]["spec"]["containers"][0]
    path = expected.format(own["name"], own["env"][-1]["name"])
    assert changes(rendered(body), earlier(body, change)) == [path]


def test_spelling_defaults_and_what_others_added_restart_nothing(objects):
    def served(pod):
        limits = container(pod)["resources"]["limits"]
        limits.update(memory="1Gi", cpu="1")
        container(pod)["terminationMessagePath"] = "/dev/termination-log"

    live = earlier(objects["chat-engine"], served)
    pod = live["spec"]["template"]
    pod["spec"]["containers"].insert(0, {"name": "mesh", "image": "mesh/proxy"})
    pod["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "2026-01-01T00:00:00Z"
    fields = live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    del fields['k:{"name":"engine"}']["f:terminationMessagePath"]
    assert changes(rendered(objects["chat-engine"]), live) == []


@pytest.fixture
def cluster():
    """A RayCluster as rendered, and as an earlier version applied it."""
    spec = a_spec(mode="Online", samples={"transport": "Ray"}, serving={"resources": RESOURCES, "replicas": 2})
    body = ray.cluster(Resource("chat", "ns", "u-1", spec), IMAGES, "stamp")
    live = copy.deepcopy(body)
    live["metadata"]["annotations"][HASH] = "0123456789abcdef"
    return body, live


def test_a_ray_cluster_that_this_version_would_make_stays(cluster):
    body, live = cluster
    head, (engines, _) = live["spec"]["headGroupSpec"], live["spec"]["workerGroupSpecs"]
    # Sizes change in place; KubeRay and the API server add their own.
    engines["replicas"] = 5
    engines["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = "1Gi"
    head["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    assert changes_of_ray(body, live) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda head, _: head["template"]["spec"]["containers"][1].update(image="older"),
         "ray-head.template.spec.containers[driver].image"),
        (lambda head, _: head["rayStartParams"].pop("port"), "ray-head.rayStartParams.port"),
        (lambda _, groups: groups[0]["template"]["spec"].pop("volumes"), "engines.template.spec.volumes"),
        (lambda _, groups: groups.pop(), "trainer"),
    ],
)  # fmt: skip
def test_what_would_make_another_ray_cluster_is_named(cluster, change, expected):
    body, live = cluster
    change(live["spec"]["headGroupSpec"], live["spec"]["workerGroupSpecs"])
    assert changes_of_ray(body, live) == [expected]


def operators(**env):
    named = [{"name": f"AURORA_OPERATOR_{name}", "value": value} for name, value in env.items()]
    pod = {"containers": [{"name": "operator", "env": [*named, {"name": "POD", "valueFrom": {}}]}]}
    return Answer(json.dumps({"items": [{"spec": {"template": {"spec": pod}}}]}))


def test_images_are_those_of_the_operator_that_runs():
    found = running_images(operators(ENGINE_IMAGE="e:1", TRAINER_IMAGE="t:1"))
    assert (found.engine, found.trainer, found.pull_secrets, found.user) == ("e:1", "t:1", (), NOBODY)
    user = '{"fsGroup": 7}'
    found = running_images(operators(ENGINE_IMAGE="e", TRAINER_IMAGE="t", PULL_SECRETS="a,b", POD_USER=user))
    assert (found.pull_secrets, found.user.fs_group, found.user.run_as_user) == (("a", "b"), 7, None)
    assert running_images(Answer('{"items": []}')) is None
    assert running_images(Answer("", "forbidden", Failure.FORBIDDEN)) is None
