"""The command line, the operator and a real API server: effects are waited for; what may not be seen is not missing."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from apiserver_support import GOOD, kubectl, read
from host import wait
from operated import Operator, prepare

SPACE = "commanded"
STABLE = {"version": 4, "steps": 3, "since": "2026-01-01T12:00:00Z", "previous": 2, "previousSteps": 3, "digest": ""}


def aurora(*words):
    command = [Path(sys.executable).parent / "aurora", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    print(done.stdout + done.stderr)
    return done.returncode, done.stdout + done.stderr


def condition(kind):
    found = read(SPACE, "specdep", "chat")
    return next((c for c in found.get("status", {}).get("conditions", []) if c["type"] == kind), {})


@pytest.fixture(scope="module", autouse=True)
def operator(tmp_path_factory):
    kubectl("create", "namespace", SPACE)
    log = tmp_path_factory.mktemp("operator") / "log"
    running = Operator.start(SPACE, log)
    body = GOOD | {"metadata": {"name": "chat"}}
    assert kubectl("apply", "-n", SPACE, "-f", "-", stdin=json.dumps(body)).returncode == 0
    wait("a job", lambda: read(SPACE, "job", "chat-init"), 30)
    prepare(SPACE, "job/chat-init")
    patch = json.dumps({"status": {"stable": STABLE, "decided": 4}})
    done = kubectl("patch", "specdep", "chat", "-n", SPACE, "--subresource=status", "--type=merge", "-p", patch)
    assert done.returncode == 0, done.stderr
    wait("it is taken up", lambda: condition("Speculating").get("reason") == "Drafting", 30)
    yield running
    running.stop()
    print(log.read_text())
    kubectl("delete", "namespace", SPACE, "--wait=false")


def upgraded(*options):
    code, out = aurora("doctor", "chat", "-n", SPACE, "--upgrade", "-o", "json", *options)
    found = {one["name"]: (one["result"], one["message"]) for one in json.loads(out)}
    return code, {name: row for name, row in found.items() if name.startswith("upgrade")}


def test_what_an_upgrade_would_restart_is_known_before_it():
    """Given a running deployment, when the next operator brings another engine image, then engines alone restart."""
    wait("a trainer", lambda: read(SPACE, "job", "chat-trainer"), 20)
    same = ("--engine-image", "none/engine", "--trainer-image", "none/trainer")
    assert {row[0] for row in upgraded(*same)[1].values()} == {"ok"}
    found = upgraded("--engine-image", "next/engine", "--trainer-image", "none/trainer")[1]
    engines, trainer = found["upgrade of chat-engine"], found["upgrade of chat-trainer"]
    assert engines[0] == "restarts"
    assert engines[1].endswith("restarts its pods: spec.containers[agent].image, spec.containers[engine].image")
    assert trainer[0] == "ok"
    assert upgraded()[1]["upgrade"][0] == "MISSING"


def test_speculation_is_off_until_it_is_switched_on():
    assert aurora("speculation", "off", "chat", "-n", SPACE)[0] == 0
    assert condition("Speculating")["reason"] == "SwitchedOff"
    steps = kubectl("get", "configmap", "chat-desired", "-n", SPACE, "-o", "jsonpath={.data.steps}")
    assert steps.stdout == "0"
    code, out = aurora("speculation", "off", "chat", "-n", SPACE)
    assert (code, "already" in out) == (0, True)
    assert aurora("speculation", "on", "chat", "-n", SPACE)[0] == 0
    assert condition("Speculating")["reason"] == "Drafting"


def test_pause_and_resume_are_done_when_they_return():
    assert aurora("pause", "chat", "-n", SPACE)[0] == 0
    assert condition("PromotionProgressing")["reason"] == "Paused"
    assert aurora("resume", "chat", "-n", SPACE)[0] == 0
    assert condition("PromotionProgressing")["reason"] != "Paused"


def test_what_cannot_have_an_effect_changes_nothing():
    code, out = aurora("promote", "chat", "-n", SPACE)
    assert (code, "nothing was done: there is no candidate" in out) == (1, True)
    code, out = aurora("rollback", "chat", "--to", "77", "-n", SPACE, "--timeout", "30")
    assert (code, "no rollback to version 77" in out) == (1, True)
    assert aurora("explain", "nothing", "-n", SPACE)[0] == 1


def test_a_rollback_that_no_engine_has_taken_yet_is_not_called_done():
    code, out = aurora("rollback", "chat", "-n", SPACE, "--timeout", "8")
    assert code == 1
    assert "version 2 is stable; engines serve version none that is known" in out
    assert json.loads(aurora("status", "-A", "-o", "json")[1])


@pytest.fixture
def stranger(tmp_path):
    """Credentials that may read SpeculatorDeployments of the namespace, and nothing else."""
    kubectl("create", "serviceaccount", "stranger", "-n", SPACE)
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=speculatordeployments", "-n", SPACE)
    kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={SPACE}:stranger", "-n", SPACE)
    config = yaml.safe_load(kubectl("config", "view", "--raw", "--minify", "--flatten").stdout)
    token = kubectl("create", "token", "stranger", "-n", SPACE).stdout.strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_doctor_and_report_with_few_rights(stranger, tmp_path):
    _, out = aurora("doctor", "chat", "-n", SPACE, "--kubeconfig", stranger, "-o", "json")
    found = {one["name"]: one["result"] for one in json.loads(out)}
    assert found["API server"] == found["CustomResourceDefinition"] == "ok"
    assert found["operator"] == found["storage class"] == found["GPUs"] == found["Prometheus"] == "FORBIDDEN"
    file = tmp_path / "bundle.tar.gz"
    assert aurora("report", "chat", "-n", SPACE, "--kubeconfig", stranger, "-f", str(file))[0] == 0
    with tarfile.open(file) as bundle:
        names = bundle.getnames()
    assert f"aurora-report/{SPACE}/chat/resource.json" in names
    assert f"aurora-report/{SPACE}/chat/pods.json.error" in names


def test_what_is_not_installed_is_missing_and_a_dead_server_unreachable(tmp_path):
    code, out = aurora("doctor", "-o", "json")
    found = {one["name"]: one["result"] for one in json.loads(out)}
    assert (code, found["operator"], found["storage class"]) == (1, "MISSING", "MISSING")
    config = yaml.safe_load(kubectl("config", "view", "--raw", "--minify", "--flatten").stdout)
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    code, out = aurora("doctor", "--kubeconfig", str(path), "-o", "json")
    assert (code, [one["result"] for one in json.loads(out)]) == (1, ["UNREACHABLE"])


def test_a_report_of_all_has_no_secret(tmp_path):
    secret = json.loads(kubectl("get", "secret", "chat-keys", "-n", SPACE, "-o", "json").stdout)["data"]
    file = tmp_path / "bundle.tar.gz"
    assert aurora("report", "-A", "-f", str(file))[0] == 0
    with tarfile.open(file) as bundle:
        texts = {m.name: bundle.extractfile(m).read().decode() for m in bundle.getmembers()}
    assert "chat-engine" in texts[f"aurora-report/{SPACE}/chat/deployments.json"]
    assert not any(value in text for value in secret.values() for text in texts.values())
