"""What keeps a pod from being made or started is reported by the resource itself."""

import json

import pytest
import yaml
from deployed import kubectl
from node_support import ROOT, eventually, read

pytestmark = pytest.mark.timeout(300)

SPACE = "hindered"


@pytest.fixture(autouse=True)
def space():
    kubectl("create", "namespace", SPACE)
    yield
    kubectl("delete", "specdep", "--all", "-n", SPACE)
    kubectl("delete", "namespace", SPACE, "--wait")


def apply(**target):
    body = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
    body["metadata"]["name"] = "chat"
    body["spec"]["target"] = target
    body["spec"]["weights"]["onDelete"] = "Delete"
    kubectl("apply", "-n", SPACE, "-f", "-", stdin=json.dumps(body))


def available():
    conditions = read("specdep", "chat", SPACE).get("status", {}).get("conditions", [])
    return next((one["message"] for one in conditions if one["type"] == "Available"), "")


def test_a_secret_that_is_not_there():
    apply(model="org/model", tokenSecret={"name": "nowhere", "key": "token"})
    eventually("reported", lambda: 'CreateContainerConfigError: secret "nowhere" not found' in available(), 60)


def test_a_namespace_that_takes_no_pods():
    kubectl("create", "quota", "none", "-n", SPACE, "--hard=pods=0")
    apply(model="org/model")
    eventually("reported", lambda: "job chat-init cannot make its pod" in available(), 90)
    events = kubectl("get", "events", "-n", SPACE, "-o", "jsonpath={.items[*].message}")
    assert "exceeded quota" in events
