"""A Canary by request through Traefik itself, by the weights that the operator writes into an HTTPRoute.

Not among the checks of `make test`: ``traefik.sh`` builds Traefik of its Go module, and runs this with root.
The API server, its controllers, the operator and Traefik are real, each with its own rights. There is no kubelet and no
engine: what answers says which pod it is, and which version the operator has it serve. So what is shown is by what
weights requests are dealt and what a change of them costs, and nothing of how fast anyone decodes.
"""

import json
import os
import time

import pytest
from apiserver_support import grant_the_charts_role, with_the_charts_role
from clients import Clients
from host import wait
from neighbour_support import ROOT, controllers, kubectl, tried
from operated import Operator
from routed_pods import NODE, RoutedPods
from routed_support import ALONE, BOTH, ENOUGH, LONG, WEIGHT, Routed, a_resource, dealt
from traefik_support import ENTRY, GATEWAY, URL, a_gateway, a_route, accepted, defined, installed, started

SPACE = "routed"
SLOW = "--endpointslice-updates-batch-period=5s"
"""As a busy controller is: endpoints follow pods by seconds."""
THEIRS = [55, 45]
BACK_SECONDS = 5.0
"""Within which the last request meets a canary pod, once the operator has given stable all."""
DRAINED_SECONDS = 10.0
"""The operator's own: so long canary pods stay out of stable's Service."""
if "NEIGHBOURS" not in os.environ:
    pytest.skip("e2e/neighbours/traefik.sh builds what this asks, and runs it", allow_module_level=True)
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("traefik")


class Controllers:
    """Kubernetes' own, which can be started again with other options."""

    def __init__(self, folder):
        self._folder = folder
        self.start()

    def start(self, *options):
        self._running = controllers(self._folder, "endpointslice-controller", options=options)

    def stop(self):
        self._running.stop()


@pytest.fixture(scope="module")
def kubernetes(folder):
    running = Controllers(folder)
    kubectl("create", "namespace", SPACE)
    for space in (SPACE, "default"):
        wait(
            "accounts", lambda space=space: tried("get", "serviceaccount", "default", "-n", space).returncode == 0, LONG
        )
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def traefik(kubernetes, folder):
    assert kubernetes
    installed()
    kubectl("apply", "-n", SPACE, "-f", "-", stdin=json.dumps(a_gateway(GATEWAY, ENTRY)))
    running = started(folder)
    accepted("gateway", GATEWAY, SPACE)
    yield running
    running.stop()
    print(running.tail())


@pytest.fixture(scope="module")
def pods(kubernetes):
    assert kubernetes
    with RoutedPods(SPACE, versions=(0,)) as running:
        yield running


@pytest.fixture(scope="module")
def chat(traefik, pods, folder):
    assert traefik
    assert pods
    defined(ROOT / "crds")
    account = {"KUBECONFIG": str(with_the_charts_role(SPACE, folder / "operator.yaml"))}
    grant_the_charts_role(SPACE, "routes.enabled=true")
    log = folder / "operator.log"
    made = Routed(SPACE, Operator.start(SPACE, log, environment=account), log)
    made.kubectl("apply", "-f", "-", stdin=json.dumps(a_resource("front")))
    made.kubectl("apply", "-f", "-", stdin=json.dumps(a_route("front", GATEWAY)))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def clients(chat):
    wait("ready", lambda: chat.condition("Ready").get("status") == "True", LONG, state=lambda: chat.condition("Ready"))
    chat.reported("RouteReady", "RouteDeals", LONG)
    chat.have(ALONE)
    with Clients(URL) as running:
        wait(
            "an answer",
            lambda: any(not one.problem for one in running.asked(0)),
            60,
            state=lambda: running.asked(0)[-1],
        )
        yield running


def requests(clients, since, count=ENOUGH):
    """Wait for so many that were sent since a moment."""
    wait(f"{count} requests", lambda: len(clients.asked(since)) >= count, LONG)
    return clients.asked(since)


def nothing_failed(clients, since):
    """Neither a request that was sent since then, nor any answer in pieces."""
    assert [one for one in clients.asked(since) if one.problem] == []
    assert [one for one in clients.streamed() if one.problem] == []


def begins(version, chat, pods, clients):
    """A trial, once Traefik deals by its weights; returns since when, and the canary pods."""
    since = time.time()
    pods.publish(version)
    chat.have(BOTH)
    canaries = chat.canaries()
    assert len(canaries) == 2
    # Two where one pod was an endpoint before the other.
    at, *more = chat.written(since)
    assert len(more) <= 1
    met = wait("a request that meets a canary pod", lambda: [
        one for one in clients.asked(since) if one.pod in canaries and one.done > at], 60)  # fmt: skip
    first = min(one.done for one in met)
    print(f"   version {version}: first request to a canary pod {first - at:.2f} s after the weights were written")
    return [at, *more][-1], canaries


def ends(version, chat, clients, canaries):
    """A person rejects the version; returns when stable was given all."""
    since = time.time()
    chat.decide("reject", version)
    chat.have(ALONE)
    (at,) = chat.written(since)
    wait("no canary pods", lambda: not chat.canaries(), LONG)
    late = [one.sent - at for one in clients.asked(at, at + DRAINED_SECONDS - 1) if one.pod in canaries]
    print(f"   version {version}: last request to a canary pod {max(late, default=0):.2f} s after stable got all")
    assert max(late, default=0) < BACK_SECONDS
    return at


def in_flight(clients, moment):
    """Wait until every answer that was coming in pieces at a moment has ended; returns how many these are."""
    wait("their end", lambda: any(one.sent > moment for one in clients.streamed()), LONG)
    return sum(one.sent < moment < one.done for one in clients.streamed())


def test_stable_pods_get_all_requests_outside_of_trials(chat, clients):
    asked, names = requests(clients, time.time()), [one["metadata"]["name"] for one in chat.pods("engine")]
    assert len(names) == 4
    for name in names:
        print("   ", name, dealt(asked, 1 / 4, lambda one, name=name: one.pod == name))
    nothing_failed(clients, 0)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_trial_has_its_share_of_requests_and_its_end_gives_all_back(version, chat, pods, clients):
    begun, canaries = begins(version, chat, pods, clients)
    asked = requests(clients, begun + BACK_SECONDS)
    print("    canary pods:", dealt(asked, WEIGHT / 100, lambda one: one.pod in canaries))
    for name in sorted(canaries):
        print("    one of them:", dealt(asked, WEIGHT / 200, lambda one, name=name: one.pod == name))
    print("    candidate:", dealt(asked, WEIGHT / 200, lambda one: one.version == version))
    assert {one.version for one in asked if one.pod not in canaries} == {0}
    ended = ends(version, chat, clients, canaries)
    counts = [in_flight(clients, moment) for moment in (begun, ended)]
    print("    answers in flight when weights were written:", counts)
    assert all(counts)
    nothing_failed(clients, 0)
    assert sum(pods.answered.values()) >= len(clients.asked(0))


def test_endpoints_that_follow_late_cost_no_request(chat, pods, clients, kubernetes):
    since = time.time()
    kubernetes.stop()
    kubernetes.start(SLOW)
    try:
        _, canaries = begins(4, chat, pods, clients)
        asked = requests(clients, since, 600)
        print("    failed:", sum(bool(one.problem) for one in asked), "of", len(asked))
        nothing_failed(clients, since)
        ends(4, chat, clients, canaries)
    finally:
        kubernetes.stop()
        kubernetes.start()
    nothing_failed(clients, since)


def test_a_canary_pod_that_is_not_ready_is_replaced_and_costs_no_request(chat, pods, clients):
    since = time.time()
    _, canaries = begins(5, chat, pods, clients)
    name = min(canaries)

    def ready(status):
        chat.patch(
            "pod", name, {"status": {"conditions": [{"type": "Ready", "status": status}]}}, "--subresource=status"
        )

    changed = time.time()
    ready("False")
    wait("another", lambda: len(chat.canaries() - {name}) == 2, LONG, state=chat.canaries)
    chat.have(BOTH)
    print("    weights written:", len(chat.written(changed)))
    asked, others = requests(clients, time.time() + BACK_SECONDS), chat.canaries()
    print("    canary pods:", dealt(asked, WEIGHT / 100, lambda one: one.pod in others))
    assert name not in {one.pod for one in asked}
    ready("True")
    ends(5, chat, clients, others)
    nothing_failed(clients, since)


def test_weights_that_another_client_sets_hold_the_trial_and_nobody_meets_the_candidate(chat, pods, clients):
    since = time.time()
    _, canaries = begins(6, chat, pods, clients)

    def reported():
        return chat.condition("RouteReady")["reason"] == "FieldContested"

    for _ in range(20):
        if reported():
            break
        chat.sets("someone", THEIRS)
        wait("put back, or reported", lambda: chat.weights() != THEIRS or reported(), LONG)
    # Now it waits for a minute and more before it sets them back again.
    chat.sets("someone", THEIRS)
    message = chat.condition("RouteReady")["message"]
    print("   ", message)
    assert "someone sets weights of spec.rules" in message
    asked = requests(clients, time.time() + BACK_SECONDS, 500)
    assert chat.weights() == THEIRS
    print("    canary pods:", dealt(asked, THEIRS[1] / 100, lambda one: one.pod in canaries))
    assert {one.version for one in asked} == {0}
    nothing_failed(clients, since)


def goes_by(chat, route, **canary):
    """Have the resource name another route."""
    chat.kubectl("apply", "-f", "-", stdin=json.dumps(a_route(route, GATEWAY, **canary)))
    chat.desire(promotion={"canary": {"route": {"name": route}}})
    chat.route = route


def test_a_route_that_goes_to_another_gateway_is_no_longer_accepted(chat):
    goes_by(chat, "moved")
    chat.reported("RouteReady", "RouteDeals", LONG)
    chat.patch("httproute", "moved", {"spec": {"parentRefs": [{"name": "elsewhere"}]}})
    print("   ", chat.reported("RouteReady", "RouteNotAccepted", LONG))


def test_a_backend_that_cannot_be_resolved_stops_the_trial(chat):
    goes_by(chat, "wrong", port=31000)
    message = chat.reported("RouteReady", "RouteNotResolved", LONG)
    print("   ", message)
    assert "31000" in message
    chat.have(ALONE)
