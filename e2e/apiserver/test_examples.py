"""A real API server takes every example, and each object that the operator would make of it. Dry runs only."""

import json

import pytest
import yaml
from apiserver_support import ROOT, kubectl
from aurora_operator.api.spec import Spec
from aurora_operator.render import config, network, ranks, serving, training
from aurora_operator.render.identity import Images, Resource
from aurora_operator.render.network import NetworkPeers
from chart_support import rendered as rendered_chart

EXAMPLES = sorted((ROOT / "examples").glob("*/speculatordeployment.yaml"))
FILES = [ROOT / "examples" / "quickstart.yaml", ROOT / "examples" / "online.yaml", *EXAMPLES]
IMAGES = Images("registry.example.org/engine:1", "registry.example.org/trainer:1")
PEERS = NetworkPeers(operator=({"podSelector": {"matchLabels": {"app.kubernetes.io/name": "aurora-operator"}}},))
PER_FILE = pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}-{path.stem}" for path in FILES])


def rendered(path):
    """All objects of an example, in the order in which they are applied."""
    body = yaml.safe_load(path.read_text())
    spec = Spec.model_validate(body["spec"])
    template = spec.weights.template
    one_node = template is not None and template.access_mode == "ReadWriteOnce"
    resource = Resource(body["metadata"]["name"], "default", "5e6a2f3e-0000-4000-8000-000000000000", spec, one_node)
    return [
        made
        for made in (
            *network.policies(resource, PEERS),
            training.claim(resource),
            config.config_map(resource),
            config.desired_map(resource, 0, 0, "", None),
            config.secret(resource, {"admin": "1", "agent": "2", "samples": "3"}),
            training.init_job(resource, IMAGES),
            serving.service(resource),
            serving.disruption_budget(resource),
            training.trainer_service(resource),
            ranks.service(resource),
            # KubeRay's kinds are not here; test_kuberay.py has them.
            *(() if resource.online else others(resource)),
        )
        if made is not None
    ]


def others(resource):
    """What mode Online does without."""
    return serving.deployment(resource, IMAGES, "stamp"), training.trainer_job(resource, IMAGES, "stamp")


def test_there_are_examples():
    assert EXAMPLES


@PER_FILE
def test_an_example_is_taken_as_it_is(path):
    done = kubectl("apply", "--validate=strict", "--dry-run=server", "-f", str(path))
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


@PER_FILE
def test_what_the_operator_makes_of_it_is_taken(path):
    objects = rendered(path)
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    done = kubectl(
        "apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-", stdin=json.dumps(listed)
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(objects)


def test_what_the_chart_makes_of_an_examples_values_is_taken():
    for values in {
        path.with_name("values.yaml").read_text(): path.with_name("values.yaml") for path in EXAMPLES
    }.values():
        text = rendered_chart("--set", "crds.install=false", "--values", str(values))
        done = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
        assert done.returncode == 0, done.stderr
        peer = yaml.safe_load(values.read_text())["networkPolicy"]["prometheus"]
        policies = [body for body in yaml.safe_load_all(text) if body and body["kind"] == "NetworkPolicy"]
        rules = [rule for policy in policies for rule in policy["spec"].get("egress", [])]
        ports = [{"port": port, "protocol": "TCP"} for port in peer["ports"]]
        assert {"to": peer["to"], "ports": ports} in rules


def test_nothing_is_stored():
    found = kubectl("get", "specdep,deployments,jobs,pvc", "-n", "default", "-o", "name")
    assert not [line for line in found.stdout.splitlines() for path in EXAMPLES if path.parent.name in line]
