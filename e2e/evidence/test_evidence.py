"""The gate's evidence from a real Prometheus: exact where it can be, and a problem with a message where it cannot."""

import math
import signal
import time
from datetime import UTC, datetime

import pytest
from aurora_core.exchange import Limits
from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Candidate, Stable, Status
from aurora_operator.clients import prometheus as client_module
from aurora_operator.errors import PrometheusError
from aurora_operator.promotion.counters import Arm, Counters
from aurora_operator.reconcile.evidence import measure
from aurora_operator.render.identity import Resource
from evidence_support import NEW, OLD, Exporter, prometheus, victoria

SELECTOR = '{__name__=~"aurora_(accept|requests|decode)_.*",speculator="ns/chat"}'
SCRAPED = 2.5
"""Seconds after which everything was scraped, at one scrape per second."""


def total(client, since, *, from_zero=True):
    counters = Counters(Arm(3, 3), since, from_zero=from_zero, length=1e6)
    for piece in client.pieces(SELECTOR, since - 60, time.time()):
        counters.add(piece)
    return summed(counters)


def summed(counters):
    """Requests, tokens and cycles of all engines."""
    rows = [slices.total() for slices in counters.engines.values()]
    return tuple(sum(getattr(row, name) for row in rows) for name in ("finished", "tokens", "cycles"))


@pytest.mark.parametrize("kind", [prometheus, victoria])
def test_nothing_is_lost_or_counted_twice_when_an_engine_restarts_and_two_jobs_scrape_it(exporter, serve, kind):
    server = serve([exporter.port], kind=kind, jobs=2)
    client = server.client()
    exporter.finish(40, 20)
    time.sleep(SCRAPED)
    since = time.time()
    for tokens in (30, 50):
        exporter.finish(tokens, 20)
        time.sleep(SCRAPED)
    exporter.restart()
    exporter.finish(10, 5)
    time.sleep(SCRAPED)
    assert total(client, since) == (3, 90, 45)


def test_engines_that_come_and_go_and_scrapes_that_fail_only_delay(serve):
    first, second = Exporter.start("chat-engine-1"), Exporter.start("chat-engine-2")
    server = serve([first.port, second.port])
    client, since = server.client(), time.time()
    first.finish(20, 10)
    time.sleep(SCRAPED)
    second.stop()
    first.finish(20, 10)
    time.sleep(SCRAPED)
    second.restart()
    second.finish(12, 6)
    first.stop()
    time.sleep(SCRAPED)
    assert total(client, since) == (3, 52, 26)
    second.stop()


def test_a_version_that_served_before_is_counted_from_the_trial_on(exporter, serve):
    server = serve([exporter.port])
    client = server.client()
    exporter.finish(400, 20)
    time.sleep(SCRAPED)
    since = time.time()
    time.sleep(1.5)
    exporter.finish(30, 20)
    time.sleep(SCRAPED)
    assert total(client, since, from_zero=False) == (1, 30, 20)


def test_a_dead_or_stuck_server_and_one_that_says_too_much_are_problems(exporter, serve, monkeypatch):
    monkeypatch.setattr(client_module, "_LIMITS", Limits(seconds=1.0))
    server = serve([exporter.port])
    client, since = server.client(), time.time()
    time.sleep(SCRAPED)
    monkeypatch.setattr(client_module, "LIMIT", 3)
    with pytest.raises(PrometheusError, match="more than 3 samples"):
        total(client, since)
    server.signal(signal.SIGSTOP)
    with pytest.raises(PrometheusError, match="does not answer"):
        total(client, since)
    server.signal(signal.SIGCONT)
    server.signal(signal.SIGKILL)
    server.process.wait()
    with pytest.raises(PrometheusError, match="does not answer"):
        total(client, since)


def test_what_an_answer_cannot_hold_is_read_in_pieces(exporter, serve, monkeypatch):
    client, since = serve([exporter.port]).client(), time.time()
    for tokens in (30, 50, 70):
        exporter.finish(tokens, 20)
        time.sleep(SCRAPED)
    monkeypatch.setattr(client_module, "SHORTEST_SECONDS", 1.0)
    monkeypatch.setattr(client_module, "LIMIT", 7 * 4)
    pieces = list(client.pieces(SELECTOR, since, time.time()))
    assert len(pieces) > 2
    assert total(client, since) == (3, 150, 60)


def test_reads_that_read_only_what_is_new_see_what_one_that_reads_all_does(exporter, serve):
    client, since = serve([exporter.port]).client(), time.time()
    counters = Counters(Arm(3, 3), since, from_zero=True, length=1e6)
    began = since
    for step, tokens in enumerate((30, 50, 10)):
        exporter.finish(tokens, 20)
        time.sleep(SCRAPED)
        if step == 1:
            exporter.restart()
        until = time.time()
        counters.add(client.raw(SELECTOR, began - 1, until))
        began = until
    assert summed(counters) == total(client, since)
    assert counters.requests() == 3


def trial(url, since, **promotion):
    """A resource with two replicas whose version 3 is on trial against version 2, in slices of 5 s."""
    spec = Spec.model_validate(
        {
            "mode": "ExternalWithoutDraft",
            "target": {"model": "org/model"},
            "serving": {"replicas": 2},
            "promotion": {"prometheus": {"url": url}, "gate": {"sliceSeconds": 5}, **promotion},
        }
    )
    status = Status(
        stable=Stable(version=2, steps=3, since=since),
        candidate=Candidate(version=3, steps=3, since=since, metric="AcceptLength"),
    )
    return Resource("chat", "ns", "u-1", spec), status


def test_a_canarys_blocks_are_those_of_engines_that_took_turns_and_an_operator_that_starts_finds_the_same(serve):
    """Two engines take turns in each of three blocks, the better one first in the first; each is its own control."""
    engines = [Exporter.start("chat-engine-1"), Exporter.start("chat-engine-2")]
    names = {engine.engine for engine in engines}
    for engine in engines:
        engine.finish(2, 1, OLD)
    server = serve([engine.port for engine in engines])
    guards = [{"name": "load", "query": "vector(3)", "max": 2}, {"name": "gone", "query": "nothing", "max": 2}]
    since = datetime.now(UTC)
    resource, status = trial(server.url, since, guards=guards)
    ledgers = {}
    for number in range(6):
        canary = engines[(number + number // 2) % 2]
        for tick in range(4):
            time.sleep(max(0.0, since.timestamp() + 5 * number + 0.5 + tick - time.time()))
            for engine in engines:
                # The second engine's traffic is half as easy, for either version; the candidate is 1.2 times as good.
                easy = 20 if engine is engines[0] else 10
                engine.finish(easy * (1.2 if engine is canary else 1), 10, NEW if engine is canary else OLD)
        time.sleep(max(0.0, since.timestamp() + 5 * (number + 1) - time.time()))
        measure(None, resource, status, datetime.now(UTC), ledgers, names)
    time.sleep(SCRAPED)
    found, fresh = (measure(None, resource, status, datetime.now(UTC), known, names) for known in (ledgers, {}))
    assert found == fresh
    assert (found.evidence.candidate_requests, found.evidence.stable_requests) == (24, 24)
    assert (len(found.evidence.trial.blocks), found.evidence.trial.void) == (2, 0)
    assert [block.difference for block in found.evidence.trial.blocks] == [pytest.approx(math.log(1.2))] * 2
    assert [(guard.name, guard.breached) for guard in found.guards] == [("load", True), ("gone", None)]
    for engine in engines:
        engine.stop()


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({}, ""),
        # As a labelmap of the pods' labels does.
        ({"labels": "namespace: ns, version: v1"}, "exported_version"),
        ({"labels": "namespace: ns, engine: mine"}, "none of the resource's own engine pods"),
        ({"labels": "kubernetes_namespace: ns"}, "set the target labels namespace and pod"),
        (
            {"relabel": "[{source_labels: [__name__], regex: aurora_accept_cycles_total, action: drop}]"},
            "no aurora_accept_cycles_total, but other counters",
        ),
    ],
)
def test_counters_that_relabelling_changed_or_dropped_are_no_data(exporter, serve, how, problem):
    server = serve([exporter.port], **how)
    resource, status = trial(server.url, datetime.now(UTC))
    for _ in range(3):
        exporter.finish(20, 10, NEW)
        exporter.finish(20, 10, OLD)
    time.sleep(SCRAPED)
    found = measure(None, resource, status, datetime.now(UTC), {}, {exporter.engine})
    assert problem in found.evidence.problem
    assert bool(problem) == bool(found.evidence.problem)
    assert found.evidence.candidate_requests == (0 if problem else 3)


def test_without_a_candidate_stable_is_watched_and_its_pace_found_and_an_operator_that_starts_finds_the_same(serve):
    """One engine, slices of 5 s; a block that would count every 10 s, and the first scrape is the baseline."""
    engine = Exporter.start("chat-engine-1")
    engine.finish(2, 1, OLD)
    server = serve([engine.port])
    since = datetime.now(UTC)
    resource, status = trial(server.url, since, strategy="Switchback")
    status = status.model_copy(update={"candidate": None})
    ledgers = {}
    for number in range(13):
        time.sleep(max(0.0, since.timestamp() + 5 * number + 2.5 - time.time()))
        for _ in range(6):
            engine.finish(22 if number % 2 else 20, 10, OLD)
            engine.finish(30, 10, NEW)
        if number % 4 == 3:
            measure(None, resource, status, datetime.now(UTC), ledgers, {engine.engine})
    time.sleep(SCRAPED)
    found, fresh = (
        measure(None, resource, status, datetime.now(UTC), known, {engine.engine}) for known in (ledgers, {})
    )
    assert found == fresh
    assert found.watch.requests == 6 * 13
    assert len(found.watch.windows) >= 12
    assert {round(math.exp(one.value), 2) for one in found.watch.windows} == {2.0, 2.2}
    assert found.watch.busy(20, time.time())
    assert found.watch.pace.seconds_per_block == 10.0
    assert found.watch.pace.spread == pytest.approx(0.0, abs=1e-6)
    assert found.watch.pace.requests_per_minute == pytest.approx(72.0)
    engine.stop()


@pytest.mark.parametrize("kind", [prometheus, victoria])
def test_a_guard_needs_one_number(exporter, serve, kind):
    server = serve([exporter.port], kind=kind)
    client = server.client()
    time.sleep(SCRAPED)
    now = time.time()
    assert client.raw('{__name__="nothing"}', now - 10, now) == []
    assert client.number("nothing", now) is None
    assert client.number("vector(0) / 0", now) is None
    assert client.number("vector(7)", now) == 7
    assert client.number("scalar(vector(7))", now) == 7
    with pytest.raises(PrometheusError, match="returned a matrix instead of one number"):
        client.number("aurora_accept_tokens_total[30s]", now)
    with pytest.raises(PrometheusError, match="aggregate it"):
        client.number('{__name__=~"aurora_accept_.*"}', now)
    with pytest.raises(PrometheusError, match="refused"):
        client.number("rate(", now)
