"""A Canary by request on a real API server with the Gateway API's and Istio's own CRDs, without a router."""

import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apiserver_support
import pytest
from apiserver_support import GOOD, apply, grant_the_charts_role, kubectl, with_the_charts_role
from host import build, wait
from operated import Operator, prepare
from workshop.build import ROUTES

SPACE = f"routes-{secrets.token_hex(4)}"
IN = ("-n", SPACE)
PROMETHEUS = {"url": "http://127.0.0.1:9"}
POD_SET = "aurora-operator.io/pod-set"
LABELS = {
    "app.kubernetes.io/name": "aurora",
    "app.kubernetes.io/instance": "chat",
    "app.kubernetes.io/component": "engine",
    "app.kubernetes.io/managed-by": "aurora-operator",
}
RECONCILES = "aurora_operator_reconcile_seconds_count"
PODS = ("chat-engine-a", "chat-engine-b", "chat-engine-c", "chat-engine-d")


def promoted(**route):
    return {"strategy": "Canary", "prometheus": PROMETHEUS, "canary": {"route": {"name": "front"} | route}}


REFUSED = [
    ({"promotion": {**promoted(), "strategy": "Auto"}, "serving": {"replicas": 4}}, "set promotion.strategy to Canary"),
    ({"promotion": promoted(), "serving": {"replicas": 2}}, "needs serving.replicas above twice"),
    (
        {"promotion": promoted(), "serving": {"replicas": 4}, "mode": "Online", "samples": {"transport": "Ray"}},
        "mode Online deals by its Service",
    ),
    ({"promotion": promoted(weight=100), "serving": {"replicas": 4}}, "less than or equal to 99"),
    ({"promotion": promoted(kind="Ingress"), "serving": {"replicas": 4}}, "Unsupported value"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_a_route_cannot_do_is_refused_with_what_to_do(change, message):
    done = apply(GOOD | {"spec": GOOD["spec"] | change}, "--dry-run=server")
    assert done.returncode != 0
    assert message in done.stderr


def a_gateway_s(*backends, **more):
    refs = [{"name": name, "port": 30000, "weight": weight} for name, weight in backends]
    rules = [{"backendRefs": [{"name": "other", "port": 80, "weight": 3}]}, {"name": "chat", "backendRefs": refs}]
    metadata = {"name": "front", "namespace": SPACE}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata,
            "spec": {"parentRefs": [{"name": "public"}], "rules": rules}} | more  # fmt: skip


def an_istio_s(*backends):
    routes = [{"destination": {"host": f"{name}.{SPACE}.svc.cluster.local"}, "weight": w} for name, w in backends]
    metadata, http = {"name": "mesh", "namespace": SPACE}, [{"name": "chat", "route": routes, "timeout": "9s"}]
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata,
            "spec": {"hosts": ["chat.example.org"], "http": http}}  # fmt: skip


def create(body, *arguments):
    done = kubectl("create", *IN, "-f", "-", "-o", "json", *arguments, stdin=json.dumps(body))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def installed(name):
    done = kubectl("apply", "--server-side", "-f", str(Path(build("CRDs of routes", 5, ROUTES)) / f"{name}.yaml"))
    assert done.returncode == 0, done.stderr
    crd = done.stdout.split()[0].rpartition("/")[2]
    command = ("wait", "--for=condition=Established", f"crd/{crd}", "--timeout=5s")
    wait(crd, lambda: kubectl(*command).returncode == 0)


def read(kind, name):
    return apiserver_support.read(SPACE, kind, name)


def got(kind, name):
    return json.loads(kubectl("get", kind, name, *IN, "-o", "json").stdout)


def weights():
    return [one["weight"] for one in got("httproutes", "front")["spec"]["rules"][1]["backendRefs"]]


def condition(kind):
    found = (read("specdep", "chat") or {}).get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == kind), {"reason": "", "message": ""})


def is_reported(kind, reason):
    wait(f"{kind} {reason}", lambda: condition(kind)["reason"] == reason)


def sets():
    found = json.loads(kubectl("get", "pods", *IN, "-o", "json").stdout)["items"]
    return {one["metadata"]["name"]: one["metadata"]["labels"].get(POD_SET) for one in found}


def patch(kind, name, change, *arguments):
    done = kubectl("patch", kind, name, *IN, "--type=merge", "-p", json.dumps(change), *arguments)
    assert done.returncode == 0, done.stderr


def engines():
    """Four ready engine pods of the Deployment, without the label; nobody answers in them."""
    deployment = read("deployment", "chat-engine")
    owner = {"apiVersion": "apps/v1", "controller": True}
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "engine", "image": "none/engine"}]}}
    made = create({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "chat-engine-own", "labels": LABELS, "ownerReferences": [
            owner | {"kind": "Deployment", "name": "chat-engine", "uid": deployment["metadata"]["uid"]}]},
        "spec": {"replicas": 0, "selector": {"matchLabels": LABELS}, "template": template},
    })  # fmt: skip
    owners = [owner | {"kind": "ReplicaSet", "name": "chat-engine-own", "uid": made["metadata"]["uid"]}]
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    for at, name in enumerate(PODS):
        metadata = {"name": name, "labels": LABELS, "ownerReferences": owners}
        create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
        patch("pod", name, {"status": status | {"podIP": f"127.0.0.{81 + at}"}}, "--subresource=status")


@pytest.fixture(scope="module")
def operator(tmp_path_factory):
    kubectl("create", "namespace", SPACE)
    kubectl("create", "serviceaccount", "default", *IN)
    folder = tmp_path_factory.mktemp("routes")
    account = {"KUBECONFIG": str(with_the_charts_role(SPACE, folder / "config"))}
    running = Operator.start(SPACE, folder / "log", environment=account)
    spec = GOOD["spec"] | {"serving": {"replicas": 4}, "promotion": promoted(weight=30)}
    create(GOOD | {"metadata": {"name": "chat"}, "spec": spec})
    wait("a job", lambda: read("job", "chat-init"))
    prepare(SPACE, "job/chat-init")
    yield running
    running.stop()
    print((folder / "log").read_text())
    kubectl("delete", "namespace", SPACE, "--wait=false")
    kubectl("delete", "--wait=false", "crd", "httproutes.gateway.networking.k8s.io",
            "virtualservices.networking.istio.io", "--ignore-not-found")  # fmt: skip


@pytest.mark.usefixtures("operator")
def test_what_is_missing_is_reported_one_after_the_other_until_the_route_deals():
    is_reported("RouteReady", "RouteKindMissing")
    installed("httproutes")
    is_reported("RouteReady", "RouteForbidden")
    grant_the_charts_role(SPACE, "routes.enabled=true")
    is_reported("RouteReady", "RouteMissing")
    create(a_gateway_s(("chat", 1)))
    is_reported("RouteReady", "RouteNotOurs")
    assert condition("RouteReady")["message"].endswith("the Services chat-stable and chat-canary and no others: "
                                                       "name them there")  # fmt: skip
    done = kubectl("apply", "-f", "-", stdin=json.dumps(a_gateway_s(("chat-stable", 70), ("chat-canary", 30))))
    assert done.returncode == 0, done.stderr
    # What was found is put right at once, whether or not a Gateway is there.
    is_reported("RouteReady", "RouteNotAccepted")
    wait("stable alone", lambda: weights() == [100, 0])
    parent = {"controllerName": "example.org/gateway", "parentRef": {"name": "public"}, "conditions": [{
        "type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime":
        "2026-01-01T00:00:00Z"}]}  # fmt: skip
    patch("httproutes", "front", {"status": {"parents": [parent]}}, "--subresource=status")
    is_reported("RouteReady", "RouteDeals")
    expected = a_gateway_s(("chat-stable", 100), ("chat-canary", 0))["spec"]["rules"]
    found = got("httproutes", "front")["spec"]["rules"]
    assert [[(one["name"], one["port"], one["weight"]) for one in rule["backendRefs"]] for rule in found] == [
        [(one["name"], one["port"], one["weight"]) for one in rule["backendRefs"]] for rule in expected
    ]


def endpoints(pods):
    """What the EndpointSlice controller would make of pods with the label of the canary pods' Service."""
    metadata = {"name": "chat-canary-1", "labels": {"kubernetes.io/service-name": "chat-canary"}}
    found = [{"addresses": [f"10.0.0.{at}"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": name}}
             for at, name in enumerate(pods, 1)]  # fmt: skip
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": "IPv4", "endpoints": found}  # fmt: skip


def test_a_trial_makes_canary_pods_and_deals_to_them_and_its_end_undoes_both(operator):
    wait("the engines' deployment", lambda: read("deployment", "chat-engine"))
    engines()
    wait("all serve stable", lambda: sets() == dict.fromkeys(PODS, "stable"))
    now = datetime.now(UTC)
    stable = {"version": 0, "steps": 0, "since": (now - timedelta(hours=1)).isoformat()}
    tried = {"version": 1, "steps": 3, "since": now.isoformat(), "metric": "DecodeSpeed"}
    patch("specdep", "chat", {"status": {"stable": stable, "candidate": tried}}, "--subresource=status")
    wait("two canary pods", lambda: sorted(sets().values()) == ["canary", "canary", "stable", "stable"])
    begun = operator.metric(RECONCILES)
    wait("reconciles", lambda: operator.metric(RECONCILES) >= begun + 3)
    # No controller is here that would make the pods endpoints of their Service: nobody could answer.
    assert weights() == [100, 0]
    create(endpoints(name for name, pods in sets().items() if pods == "canary"))
    wait("dealt", lambda: weights() == [70, 30])
    wait("shown", lambda: "30 to chat-canary" in condition("RouteReady")["message"])
    selector = read("service", "chat-canary")["spec"]["selector"]
    chosen = ",".join(f"{name}={value}" for name, value in selector.items())
    found = json.loads(kubectl("get", "pods", *IN, "-l", chosen, "-o", "json").stdout)["items"]
    assert len(found) == 2
    kubectl("annotate", "specdep", "chat", *IN, "aurora-operator.io/reject=1")
    wait("stable alone", lambda: weights() == [100, 0])
    wait("all serve stable", lambda: sets() == dict.fromkeys(PODS, "stable"))


@pytest.mark.usefixtures("operator")
def test_weights_that_another_client_sets_are_put_back_and_a_fight_is_reported():
    def fight():
        at, found = 0, weights()
        while condition("RouteReady")["reason"] != "FieldContested" and at < 40:
            at += 1
            change = [{"op": "replace", "path": f"/spec/rules/1/backendRefs/{i}/weight", "value": w}
                      for i, w in enumerate((55, 45))]  # fmt: skip
            kubectl("patch", "httproutes", "front", *IN, "--type=json", "-p", json.dumps(change),
                    "--field-manager=gitops")  # fmt: skip
            wait("put back", lambda: weights() == found or condition("RouteReady")["reason"] == "FieldContested")
        return condition("RouteReady")

    assert "gitops sets weights of spec.rules" in fight()["message"]


def test_another_route_is_taken_over_and_one_that_is_no_longer_named_gives_stable_all(operator):
    installed("virtualservices")
    create(an_istio_s(("chat-canary", 45), ("chat-stable", 55)))
    route = {"kind": "VirtualService", "name": "mesh"}
    patch("specdep", "chat", {"spec": {"promotion": {"canary": {"route": route}}}})
    is_reported("RouteReady", "RouteDeals")

    def dealt():
        found = got("virtualservices", "mesh")["spec"]["http"][0]
        return [one["weight"] for one in found["route"]], found["timeout"]

    wait("stable alone", lambda: dealt() == ([0, 100], "9s"))
    wait("the one before as well", lambda: weights() == [100, 0])
    assert operator.alive()
