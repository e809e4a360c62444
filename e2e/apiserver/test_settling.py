"""Whatever spelling a resource has and whatever webhooks make of it, a real operator writes nothing at rest."""

import copy
import json
import secrets
import time
from dataclasses import dataclass

import pytest
from apiserver_support import GOOD, kubectl, read
from host import wait
from operated import Operator, prepare
from spellings import SPELLINGS
from webhook import Mutating, rule

WRITES, RECONCILES = "aurora_operator_writes_total", "aurora_operator_reconcile_seconds_count"


def meddled(body):
    """As policy engines and service meshes change it: a mirror's image, a sidecar, labels, other values."""
    metadata = body["metadata"]
    metadata.setdefault("labels", {})["policy.example.com/checked"] = "true"
    if body["kind"] not in {"Deployment", "Job"} or body.get("spec") is None:
        return body
    pod = body["spec"]["template"]["spec"]
    for one in [*pod["containers"], *pod.get("initContainers", [])]:
        if "/" in one["image"] and not one["image"].startswith("mirror.example.com/"):
            one["image"] = f"mirror.example.com/{one['image']}"
        one["env"] = [
            *(e for e in one.get("env", []) if e["name"] not in {"MESH", "TMPDIR"}),
            {"name": "MESH", "value": "on"},
        ]
        one["resources"] = {"requests": {"cpu": "100m"}, "limits": {"memory": "2Gi"}}
    if body["kind"] == "Deployment" and all(one["name"] != "mesh" for one in pod["containers"]):
        pod["containers"].insert(0, {"name": "mesh", "image": "mesh/proxy"})
    pod["terminationGracePeriodSeconds"] = 7
    pod["tolerations"] = [{"key": "policy", "operator": "Exists"}]
    return body


def stripped(body):
    """As one that allows no unknown annotations."""
    for name in [name for name in body["metadata"].get("annotations", {}) if name.startswith("aurora-operator.io/")]:
        del body["metadata"]["annotations"][name]
    return body


def both(body):
    return meddled(stripped(body))


MEDDLING = {"meddled": meddled, "stripped": stripped, "both": both}
FOUGHT_SECONDS = 10
"""Less than the operator's first wait between two tries, a minute."""
MEDDLED_KINDS = ("deployments", "jobs", "services", "configmaps", "poddisruptionbudgets")


class Space:
    """A namespace of its own: without controllers, what has a finalizer never goes."""

    def __init__(self, name):
        self.name = name

    @classmethod
    def create(cls, name):
        made = cls(f"settling-{name}-{secrets.token_hex(4)}")
        kubectl("create", "namespace", made.name)
        return made

    def __call__(self, *arguments, stdin=None):
        done = kubectl("-n", self.name, *arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def read(self, kind, name):
        return read(self.name, kind, name)

    def degraded(self, name="chat"):
        found = (self.read("specdep", name) or {}).get("status", {}).get("conditions", [])
        return next((one for one in found if one["type"] == "Degraded"), {})

    def replicas(self):
        return self.read("deployment", "chat-engine")["spec"]["replicas"]

    def desire(self, **spec):
        self("patch", "specdep", "chat", "--type=merge", "-p", json.dumps({"spec": spec}))

    def scale(self):
        """As a client that wants other replicas than the resource."""
        self("scale", "deployment/chat-engine", "--replicas=7")

    def add(self):
        """What clients add to objects of the operator."""
        self("rollout", "restart", "deployment/chat-engine")
        sidecar = {"spec": {"template": {"spec": {"containers": [{"name": "mesh", "image": "mesh/proxy"}]}}}}
        self("patch", "deployment", "chat-engine", "-p", json.dumps(sidecar))
        self("patch", "service", "chat", "-p", '{"spec": {"type": "NodePort"}}')
        self("label", "configmap", "chat-config", "team=a")
        self("annotate", "job", "chat-trainer", "team=a")

    def added(self):
        """Whether all of it is there; the Service's port of the nodes."""
        template = self.read("deployment", "chat-engine")["spec"]["template"]
        assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
        assert "mesh" in [one["name"] for one in template["spec"]["containers"]]
        return self.read("service", "chat")["spec"]["ports"][0]["nodePort"]

    def suspend(self, value):
        """As a queue does with the trainer's Job."""
        self("patch", "job", "chat-trainer", "-p", f'{{"spec": {{"suspend": {value}}}}}')

    def suspended(self):
        return json.dumps(self.read("job", "chat-trainer")["spec"]["suspend"])

    def make(self, **specs):
        """Resources by name, until their targets are fetched."""
        items = [copy.deepcopy(GOOD) | {"metadata": {"name": name}} for name in specs]
        for body, spec in zip(items, specs.values(), strict=True):
            body["spec"] |= spec
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        self("apply", "--validate=strict", "-f", "-", stdin=text)
        self.wait_for_jobs("init", specs)
        for name in specs:
            prepare(self.name, f"job/{name}-init")

    def wait_for_jobs(self, part, names):
        wait(f"jobs in {self.name}", lambda: all(self.read("job", f"{name}-{part}") for name in names), 60)


def reconciled(operator):
    try:
        return operator.metric(RECONCILES)
    except OSError:
        # It does not listen yet.
        return 0


def at_rest(operator, seconds):
    """Writes of a while after the first quiet moment, and reconciles of the same while."""

    def is_quiet():
        before = operator.metric(WRITES)
        time.sleep(4)
        return operator.metric(WRITES) == before

    wait("a quiet moment", is_quiet, 60)
    before = {name: operator.metric(name) for name in (WRITES, RECONCILES)}
    lines = set(operator.metrics().splitlines())
    time.sleep(seconds)
    after = {name: operator.metric(name) for name in (WRITES, RECONCILES)}
    if after[WRITES] != before[WRITES]:
        print("\n".join(line for line in set(operator.metrics().splitlines()) - lines if WRITES in line))
    return after[WRITES] - before[WRITES], after[RECONCILES] - before[RECONCILES]


@dataclass
class Settled:
    """One operator and the namespaces that it has, each with a reason to write for ever."""

    operator: Operator
    spaces: dict[str, Space]
    trainers: dict[str, str]
    port: int
    writes: float
    reconciles: float
    seconds: int

    def __getitem__(self, name):
        return self.spaces[name]

    def trainer(self, name):
        return self[name].read("job", "chat-trainer")["metadata"]["uid"]


def fight(space):
    """Until it is noticed."""

    def noticed():
        return space.degraded().get("reason") == "FieldContested"

    for _ in range(5):
        space.scale()
        wait("put back, or noticed", lambda: space.replicas() == 1 or noticed(), 20)
        if noticed():
            break
    wait("noticed", noticed, 20)
    space.scale()


@pytest.fixture(scope="module")
def settled(tmp_path_factory, pytestconfig):
    spaces = {name: Space.create(name) for name in ("spelled", *MEDDLING, "late", "added", "queued", "fought")}
    folder = tmp_path_factory.mktemp("settling")
    operator = Operator.start(",".join(space.name for space in spaces.values()), folder / "log")
    webhooks = []

    def meddle(name, *kinds):
        (folder / name).mkdir()
        webhooks.append(Mutating.start(folder / name, spaces[name].name, MEDDLING.get(name, both), rule(*kinds)))

    for name in MEDDLING:
        meddle(name, *MEDDLED_KINDS)
    mild = {"serving": {"replicas": 2, "resources": {"limits": {"memory": "1024Mi"}}}}
    specs = {name: {"chat": mild if name in MEDDLING else {}} for name in spaces} | {"spelled": SPELLINGS}
    for name, space in spaces.items():
        space.make(**specs[name])
    for name, space in spaces.items():
        space.wait_for_jobs("trainer", specs[name])
    meddle("late", "deployments", "configmaps")
    spaces["late"]("annotate", "deployment", "chat-engine", "team=a")
    spaces["late"].desire(serving={"replicas": 2})
    spaces["added"].add()
    spaces["queued"].suspend("true")
    wait("replicas", lambda: spaces["late"].replicas() == 2, 20)
    seconds = pytestconfig.getoption("rest_seconds")
    found = Settled(operator, spaces, {}, spaces["added"].added(), 0, 0, seconds)
    found.trainers = {name: found.trainer(name) for name in spaces if name != "spelled"}
    found.writes, found.reconciles = at_rest(operator, seconds)
    yield found
    for webhook in webhooks:
        webhook.stop()
    found.operator.stop()
    for space in spaces.values():
        kubectl("delete", "namespace", space.name, "--wait=false")
    print((folder / "log").read_text()[-20000:])


def test_at_rest_nothing_is_written(settled):
    resources = len(SPELLINGS) + len(settled.spaces) - 1
    watched = f"in {settled.seconds} s, {settled.reconciles:.0f} reconciles"
    print(f"{resources} resources: {settled.writes:.0f} writes {watched}")
    assert settled.reconciles >= resources
    assert settled.writes == 0


def test_no_spelling_is_a_fault(settled):
    assert [name for name in SPELLINGS if settled["spelled"].degraded(name)["status"] != "False"] == []


@pytest.mark.parametrize("name", [*MEDDLING, "late"])
def test_what_webhooks_make_of_it_is_left_as_they_made_it(settled, name):
    assert settled[name].degraded()["status"] == "False"
    assert settled.trainer(name) == settled.trainers[name]
    template = settled[name].read("deployment", "chat-engine")["spec"]["template"]["spec"]
    assert template["terminationGracePeriodSeconds"] == 7 or name == "stripped"


def test_what_others_add_stays_also_when_something_else_is_applied(settled):
    space = settled["added"]
    assert space.added() == settled.port
    space.desire(serving={"replicas": 3})
    wait("replicas", lambda: space.replicas() == 3, 20)
    assert space.added() == settled.port


def test_a_queue_that_suspends_the_trainer_is_left_alone(settled):
    space = settled["queued"]
    assert space.suspended() == "true"
    space.suspend("false")
    before = settled.operator.metric(RECONCILES)
    # Every resource is reconciled in between.
    wait("reconciles", lambda: settled.operator.metric(RECONCILES) > before + 2 * len(SPELLINGS), 40)
    assert space.suspended() == "false"


def test_who_fights_over_a_field_is_named_and_not_fought(settled):
    space = settled["fought"]
    fight(space)
    assert at_rest(settled.operator, FOUGHT_SECONDS)[0] == 0
    message = space.degraded()["message"]
    assert message.startswith(f"Deployment {space.name}/chat-engine: kubectl sets spec.replicas, again and again")
    assert settled.operator.metric("aurora_operator_contested_objects") == 1
    assert space.replicas() == 7
    # What the resource's owner changes is done at once.
    space.desire(serving={"replicas": 2})
    wait("replicas", lambda: space.replicas() == 2, 10)


def test_an_operator_that_starts_again_writes_nothing(settled, tmp_path):
    settled.operator.stop()
    watched = ",".join(space.name for space in settled.spaces.values())
    settled.operator = Operator.start(watched, tmp_path / "again")
    wait("it reconciles", lambda: reconciled(settled.operator) > len(SPELLINGS), 60)
    assert at_rest(settled.operator, settled.seconds)[0] == 0
