"""What Argo CD does in each cycle of an Application, by its own engine, tracking and Lua, with chart and operator.

Not among the checks of `make test`: ``e2e/neighbours/gitops_engine.sh`` builds it of Argo CD's modules, and runs this.
Argo CD's controller, repo server and queue are not in it: a cycle here reads a folder, compares, applies and prunes as
they would with ``automated: {prune: true, selfHeal: true}``.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from apiserver_support import ROOT, helm
from gitops_support import (
    LONG,
    SPACE,
    SYSTEM,
    Space,
    as_text,
    installed_operator,
    now,
    without_claim,
    writes_since,
)  # fmt: skip
from host import wait
from neighbour_support import controllers, get, kubectl
from serving_pods import ServingPods

if "NEIGHBOURS" not in os.environ:
    pytest.skip("e2e/neighbours/gitops_engine.sh builds what this asks, and runs it", allow_module_level=True)
PROGRAM = Path(os.environ["NEIGHBOURS"]) / "cycles"
RESOURCE = f"aurora-operator.io/SpeculatorDeployment/{SPACE}/chat"
DEFINITION = "speculatordeployments.aurora-operator.io"
TRACKED = ("label", "annotation", "annotation+label")
pytestmark = pytest.mark.timeout(1800)


def health_check():
    """The page's, by the group and kind that Argo CD reads of its name."""
    (text,) = [one for one in re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "gitops.md").read_text(),
                                         re.DOTALL | re.MULTILINE) if "resource.customizations" in one]  # fmt: skip
    ((name, script),) = yaml.safe_load(text)["data"].items()
    return {name.removeprefix("resource.customizations.health.").replace("_", "/"): script}


class Application:
    """One that is called as the resource is, and what is in git for it."""

    def __init__(self, folder, method, *, name="chat", namespace=SPACE, server_side=False):
        self._folder = folder
        asked = {"App": name, "Method": method, "Namespace": namespace, "Folder": str(folder), "Prune": True,
                 "ServerSideApply": server_side, "Health": health_check()}  # fmt: skip
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self._process = subprocess.Popen([PROGRAM, json.dumps(asked)], **pipes)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate()

    def has(self, **files):
        """What is in git, by name; None takes it away."""
        for name, text in files.items():
            path = self._folder / f"{name}.yaml"
            path.unlink(missing_ok=True) if text is None else path.write_text(text)

    def cycle(self):
        """Compare and, where anything differs, synchronize; returns what was found."""
        self._process.stdin.write("\n")
        found = json.loads(self._process.stdout.readline())
        assert not found["Error"], found
        return found

    def at_rest(self):
        """Whether a cycle finds all as it is in git."""
        found = self.cycle()
        return not found["Modified"] and not found["Extraneous"]

    def healthy(self):
        """Whether it calls the resource so."""
        return self.cycle()["Health"].get(RESOURCE, "").startswith("Healthy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="module")
def space(folder):
    chart = ROOT / "charts" / "aurora-operator"
    made = helm("upgrade", "--install", "aurora", str(chart), "-n", SYSTEM, "--create-namespace")
    assert made.returncode == 0, made.stderr
    kubectl("wait", "--for=condition=Established", f"crd/{DEFINITION}", "--timeout=60s")
    running = controllers(folder)
    try:
        with installed_operator(folder) as operator:
            yield Space(SPACE, operator, folder / "operator.log")
    finally:
        running.stop()


@pytest.mark.parametrize("method", TRACKED)
def test_nothing_of_ours_is_taken_for_the_application_s(method, space, tmp_path):
    with Application(tmp_path, method, server_side=method == "label") as app:
        app.has(chat=as_text(serving={"replicas": 1}))
        found = app.cycle()
        print(method, found["Results"])
        wait("the init Job", lambda: space.read("job", "chat-init"), LONG)
        found = app.cycle()
        print("while it prepares:", found["Health"], found["Modified"], found["Extraneous"])
        assert found["Health"][RESOURCE].startswith("Progressing: Preparing")
        with ServingPods(SPACE):
            space.becomes_ready()
            wait("Healthy", app.healthy, LONG, state=app.cycle)
            serves(app, space, method)
            healed(app, space)
            pruned(app, space)
    without_claim()


def serves(app, space, method):
    """At rest neither finds or writes anything."""
    claim, made, began = space.claim(), space.made(), now()
    assert len(made) > 5
    space.rests(f"tracked by {method}")
    for _ in range(5):
        found = app.cycle()
        assert (found["Modified"], found["Extraneous"], found["Results"]) == (None, None, {})
    assert list(found["Health"]) == [RESOURCE]
    assert (space.claim(), space.made()) == (claim, made)
    print(method, found["Health"], writes_since(began, ignored=("leases", "events")))


def healed(app, space):
    """What is changed manually in a field of git is as in git; a decision by annotation stays."""
    space.desire(serving={"replicas": 3})
    space.kubectl("annotate", "specdep", "chat", "aurora-operator.io/promote=1")
    wait("healed", lambda: app.cycle()["Results"].get(RESOURCE, "").startswith("Synced"), LONG, state=app.cycle)
    assert space.read("specdep", "chat")["spec"]["serving"]["replicas"] == 1
    wait("promoted manually", lambda: space.stable() == 1, LONG, state=lambda: space.read("specdep", "chat")["status"])
    wait("Healthy", app.healthy, LONG, state=app.cycle)
    assert app.at_rest()


def pruned(app, space):
    """It goes with its objects, without its drafts, which the next one of its name serves at once."""
    claim = space.claim()
    app.has(chat=None)
    found = app.cycle()
    print("pruned:", found["Extraneous"], found["Results"])
    assert found["Extraneous"] == [RESOURCE]
    wait("pruned", lambda: space.read("specdep", "chat") is None and space.made() == [], LONG, state=space.made)
    assert app.at_rest()
    assert space.claim() == claim
    app.has(chat=as_text(serving={"replicas": 1}))
    app.cycle()
    wait("stable again", lambda: space.stable() == 1, LONG, state=lambda: space.read("specdep", "chat"))
    assert space.claim() == claim
    space.kubectl("delete", "specdep", "chat")
    wait("deleted", lambda: space.made() == [], LONG, state=space.made)


@pytest.mark.usefixtures("space")
def test_the_chart_is_applied_and_at_rest_and_its_definition_is_not_pruned(tmp_path):
    """Rendered as Argo CD's repo server does, by Helm, and applied on the server's side as the page has it."""

    def chart(*values):
        made = helm(
            "template",
            "aurora",
            str(ROOT / "charts" / "aurora-operator"),
            "-n",
            SYSTEM,
            "--kube-version",
            "1.34.0",
            *values,
        )
        assert made.returncode == 0, made.stderr
        return made.stdout

    before = get("crd", DEFINITION, SPACE)["metadata"]["uid"]
    with Application(tmp_path, "annotation", name="aurora-operator", namespace=SYSTEM, server_side=True) as app:
        app.has(chart=chart())
        print("chart:", app.cycle()["Results"])
        wait("rest", app.at_rest, LONG, every=1, state=app.cycle)
        for _ in range(3):
            assert app.at_rest()
        app.has(chart=chart("--set", "crds.install=false"))
        found = app.cycle()
        print("without the definition in git:", found["Extraneous"], found["Results"])
        assert get("crd", DEFINITION, SPACE)["metadata"]["uid"] == before
