"""A Canary by request: which pods take turns with the candidate, and how many requests they get."""

from datetime import timedelta

import pytest
from aurora_operator.promotion.assignment import assignments, share
from aurora_operator.promotion.pod_sets import Member, canary_pods, shares
from aurora_operator.promotion.progress import Pod
from aurora_operator.reconcile import contest, route
from hypothesis import given
from hypothesis import strategies as st
from operator_support import NOW
from route_support import IDLE, STABLE, TRIED, a_gateway_s, a_spec_with, applied, canaries, on_trial, planned


def test_a_trial_makes_canary_pods_first_then_deals_to_them_and_only_they_take_turns():
    _, begun = planned(a_gateway_s(), IDLE)
    assert sorted(begun.dealt.pod_sets.values()) == ["canary", "canary"]
    assert begun.dealt.change is None
    assert not begun.loads
    pods = on_trial()
    _, dealt = planned(a_gateway_s(), pods)
    assert dealt.dealt.pod_sets == {}
    assert dealt.dealt.change.weights == (50, 50)
    (load,) = dealt.loads
    assert load.version == 2
    assert load.pod.name in canaries(pods)
    live = applied(a_gateway_s(), dealt.dealt.change)
    assert planned(live, pods)[1].dealt == route.Dealt()
    # Nothing but the two weights is another than before.
    expected = a_gateway_s((50, 50))
    assert live == expected


def test_no_request_is_dealt_to_a_pod_before_its_service_has_it():
    pods, spec = on_trial(), a_spec_with(weight=30)
    first = min(canaries(pods))
    for endpoints, weights in (((), None), ((first,), (85, 15)), (tuple(canaries(pods)), (70, 30))):
        _, todo = planned(a_gateway_s(), pods, spec=spec, endpoints=endpoints)
        assert (todo.dealt.change and todo.dealt.change.weights) == weights
        message = next(one["message"] for one in todo.status["conditions"] if one["type"] == "RouteReady")
        _, waits, names = message.partition("; waits for endpoints of chat-canary: pods ")
        assert (bool(waits), names) == (len(endpoints) < 2, ", ".join(sorted(canaries(pods) - set(endpoints))))
        # The operator reconciles more often while they should come, and not for ever.
        begun = TRIED.model_copy(update={"since": NOW - timedelta(seconds=59)})
        assert planned(a_gateway_s(), pods, spec=spec, tried=begun, endpoints=endpoints)[1].dealt.awaits == bool(waits)
        assert not todo.dealt.awaits


def test_without_the_right_to_list_endpoints_pods_get_no_weight_and_do_not_stay_canary_pods():
    pods = on_trial()
    snapshot, todo = planned(a_gateway_s((70, 30)), pods, endpoints="forbidden")
    assert snapshot.route.problem[0] == "RouteForbidden"
    assert (todo.dealt.pod_sets, todo.dealt.change.weights, todo.loads) == ({}, (100, 0), ())
    _, drained = planned(a_gateway_s(), pods, endpoints="forbidden")
    assert drained.dealt == route.Dealt(dict.fromkeys(canaries(pods), "stable"))


def test_after_a_trial_no_more_requests_are_dealt_before_the_pods_are_stable_again():
    pods, dealt = on_trial(), a_gateway_s((50, 50))
    _, ended = planned(dealt, pods, tried=None)
    assert ended.dealt.pod_sets == {}
    assert ended.dealt.change.weights == (100, 0)
    at = ended.dealt.change.at
    lately = {at: contest.again(None, ended.dealt.change.rendered, "", NOW - route.DRAINED / 2)}
    assert planned(a_gateway_s(), pods, tried=None, applied=lately)[1].dealt == route.Dealt()
    before = {at: contest.again(None, ended.dealt.change.rendered, "", NOW - 2 * route.DRAINED)}
    _, drained = planned(a_gateway_s(), pods, tried=None, applied=before)
    assert drained.dealt == route.Dealt(dict.fromkeys(canaries(pods), "stable"))


@pytest.mark.parametrize("ready", [0, 1])
def test_canary_pods_that_are_not_ready_get_fewer_requests_and_none_without_any(ready):
    spec = a_spec_with(replicas=4, canaries=1, weight=30)
    assert shares(spec, 2) == (70, 30)
    assert shares(spec, ready) == ((100, 0), (85, 15))[ready]
    assert share(spec) == pytest.approx(0.15)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12),
    st.integers(1, 5),
    st.text("abc", min_size=1, max_size=3),
)
def test_there_is_always_a_ready_pod_that_serves_stable_and_both_sets_are_alike(flags, count, trial):
    pods = [Member(f"p{i}", ready, canary) for i, (ready, canary) in enumerate(flags)]
    chosen = canary_pods(trial, pods, count)
    ready = {pod.name for pod in pods if pod.ready}
    assert len(chosen) in {0, *range(2, 2 * count + 1, 2)}
    assert chosen <= ready
    assert not ready or ready - chosen
    # Who is one already stays, where it is ready.
    kept = {pod.name for pod in pods if pod.ready and pod.canary}
    assert len(chosen & kept) == min(len(chosen), len(kept))


@given(st.integers(0, 50), st.sampled_from([1, 10, 50, 99, None]))
def test_the_weights_of_a_block_do_not_depend_on_the_coin(minutes, weight):
    """Given any block of a trial, each canary pod serves either arm once in it, while the weights stay as they are."""
    spec = a_spec_with(replicas=6, canaries=2, **({"weight": weight} if weight else {}))
    pods = [Pod(name, "", 1, 3, 1.0) for name in "abcdef"]
    members = frozenset("abcd")
    served = {}
    for slice_ in (0, 1):
        now = TRIED.since + timedelta(seconds=60 * (2 * minutes + slice_) + 5)
        found = assignments(spec, STABLE, TRIED, "u-1", pods, now, members)
        for name, (version, _) in found.items():
            served.setdefault(name, []).append(version)
        assert sum(shares(spec, 4)) == 100
    assert {name: sorted(versions) for name, versions in served.items()} == {
        name: [1, 2] if name in members else [1, 1] for name in "abcdef"
    }


def test_canary_pods_to_which_a_changed_rule_still_sends_requests_stay_and_serve_stable():
    pods, live = on_trial(), a_gateway_s((50, 50))
    live["spec"]["rules"][1]["backendRefs"].append({"name": "third"})
    _, todo = planned(live, pods)
    assert (todo.dealt, todo.loads) == (route.Dealt(), ())
    live["spec"]["rules"][1]["backendRefs"][1]["weight"] = 0
    _, todo = planned(live, pods)
    assert todo.dealt == route.Dealt(dict.fromkeys(canaries(pods), "stable"))
