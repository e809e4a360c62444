"""Hostile resources, stored under a CustomResourceDefinition of before the schema was closed, and a real operator."""

import copy
import json
import random
import time

import apiserver_support
import pytest
import yaml
from apiserver_support import GOOD, ROOT, kubectl
from host import wait
from hostile import mutated
from hostile_rounds import SPEC, STATUS
from operated import Operator, prepare

pytestmark = pytest.mark.exclusive

SPACE = ("-n", "hostile")
ROUNDS, EACH = 8, 40
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def older_crd():
    """As it was once: podTemplate takes anything."""
    body = yaml.safe_load((ROOT / "crds" / "speculatordeployments.yaml").read_text())
    spec = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    for part in ("serving", "training"):
        spec[part]["properties"]["podTemplate"] = OPEN
    return body


def replace_crd(body):
    done = kubectl("replace", "-f", "-", stdin=json.dumps(body))
    assert done.returncode == 0, done.stderr


def read(kind, name):
    return apiserver_support.read(SPACE[1], kind, name)


@pytest.fixture(scope="module")
def operator(tmp_path_factory):
    kubectl("create", "namespace", SPACE[1])
    replace_crd(older_crd())
    deep = json.dumps(copy.deepcopy(GOOD) | {"metadata": {"name": "deep", "namespace": SPACE[1]}})
    levels = '{"spec":{"x":' + '{"a":' * 1200 + "{}" + "}" * 1200 + "}}"
    deep = deep.replace('"target":', f'"serving": {{"podTemplate": {levels}}}, "target":', 1)

    def stored():
        """Whether it is there as it was sent: a changed schema is in force some moments after it was stored."""
        kubectl("create", "--validate=ignore", "-f", "-", stdin=deep)
        found = kubectl("get", "specdep", "deep", *SPACE, "-o", "json").stdout
        if found.count('"a":') > 1000:
            return True
        kubectl("delete", "specdep", "deep", *SPACE)
        return False

    wait("a deep resource", stored, 60)
    log = tmp_path_factory.mktemp("operator") / "log"
    running = Operator.start(SPACE[1], log)
    yield running
    running.stop()
    print(log.read_text()[-20000:])
    kubectl("delete", "namespace", SPACE[1], "--wait=false")
    replace_crd(yaml.safe_load((ROOT / "crds" / "speculatordeployments.yaml").read_text()))


def reaction(replicas):
    """Seconds from a change of the calm resource until its Deployment follows."""
    patch = json.dumps({"spec": {"serving": {"replicas": replicas}}})
    kubectl("patch", "specdep", "calm", *SPACE, "--type=merge", "-p", patch)
    began = time.monotonic()
    wait("the deployment", lambda: read("deployment", "calm-engine")["spec"]["replicas"] == replicas, 30, 0.05)
    return time.monotonic() - began


def hostile(rng, name):
    rate = rng.choice((0.002, 0.01, 0.03))
    spec = copy.deepcopy(SPEC)
    for part in ("serving", "training"):
        spec[part]["podTemplate"] = mutated(rng, spec[part]["podTemplate"], 3 * rate)
    metadata = {"name": name, "namespace": SPACE[1]}
    return {
        "apiVersion": GOOD["apiVersion"],
        "kind": GOOD["kind"],
        "metadata": metadata,
        "spec": mutated(rng, spec, rate),
    }


def test_hostile_resources_end_no_process_and_delay_no_other_resource(operator):
    calm = copy.deepcopy(GOOD) | {"metadata": {"name": "calm", "namespace": SPACE[1]}}
    assert kubectl("create", "-f", "-", stdin=json.dumps(calm)).returncode == 0
    wait("a job", lambda: read("job", "calm-init"), 60)
    prepare(SPACE[1], "job/calm-init")
    wait("all is made", lambda: read("deployment", "calm-engine"), 20)
    usual = max(reaction(replicas) for replicas in (2, 3, 2, 3))
    rng, slowest = random.Random(5), 0.0
    for number in range(ROUNDS):
        items = [hostile(rng, f"h{number}-{i}") for i in range(EACH)]
        items = [one for one in items if isinstance(one["spec"], dict)]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        kubectl("create", "--validate=ignore", "-f", "-", stdin=text)
        status = json.dumps({"status": mutated(rng, STATUS, 0.05)})
        kubectl("patch", "specdep", f"h{number}-0", *SPACE, "--subresource=status", "--type=merge", "-p", status)
        slowest = max(slowest, reaction(2 + number % 2 * 5))
        assert operator.alive()
    names = [n.removeprefix("speculatordeployment.aurora-operator.io/")
             for n in kubectl("get", "specdep", *SPACE, "-o", "name").stdout.split()]  # fmt: skip
    print(f"{len(names)} of {ROUNDS * EACH} stored; usual {usual:.2f} s, slowest {slowest:.2f} s")
    assert len(names) > ROUNDS * EACH / 10
    path = "jsonpath={range .items[*]}{.metadata.name} {.status.conditions[*].type}{'\\n'}{end}"

    def unreported():
        lines = kubectl("get", "specdep", *SPACE, "-o", path).stdout.splitlines()
        return [line for line in lines if "Degraded" not in line]

    wait("conditions", lambda: not unreported(), 90)
    assert operator.alive()
    assert slowest < usual + 1
