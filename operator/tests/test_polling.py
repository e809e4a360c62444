"""Prometheus' answers: in time, late, never."""

import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from aurora_operator import metrics
from aurora_operator.api.status import Stable, Status
from aurora_operator.promotion.gate import Evidence
from aurora_operator.promotion.trial import Found
from aurora_operator.reconcile.polling import Polling
from operator_support import NOW, a_spec
from prometheus_client import REGISTRY
from workshop.waiting import wait

LATE = "Prometheus does not answer in time"
STATUS = Status(stable=Stable(version=4, steps=3, since=NOW), decided=4)


class Server:
    """Answers with the number of the question; none while it is held."""

    def __init__(self):
        self.asked, self.free = 0, threading.Event()
        self.free.set()

    def measure(self, *_):
        self.asked += 1
        number = self.asked
        assert self.free.wait(10)
        return Found(evidence=Evidence(problem=str(number)))


@pytest.fixture
def server():
    running = Server()
    yield running
    running.free.set()


@pytest.fixture
def reported(server, resource):
    polling = Polling(server.measure, patience=0.2)
    return lambda seconds=0, status=STATUS, spec=resource.spec: (
        polling.found(replace(resource, spec=spec), status, NOW + timedelta(seconds=seconds)).evidence.problem
    )


def wait_until(condition):
    wait("an answer", condition, 10, every=0.01)


def test_an_answer_in_time_is_reported_and_each_reconcile_polls_again(reported):
    assert [reported(), reported(), reported()] == ["1", "2", "3"]


def test_a_late_answer_is_stood_in_for_by_the_last_and_then_by_none(server, reported):
    assert reported() == "1"
    server.free.clear()
    assert reported(30) == "1"
    assert reported(61) == LATE
    assert server.asked == 2


def test_a_late_answer_is_the_next_reconciles(server, reported):
    server.free.clear()
    assert [reported(), reported(9)] == [LATE, LATE]
    assert server.asked == 1
    server.free.set()
    wait_until(lambda: reported(18) in {"1", "2"})


@pytest.mark.parametrize(
    "other",
    [
        {"status": STATUS.model_copy(update={"stable": Stable(version=5, steps=3, since=NOW)})},
        {"spec": a_spec(suspend=True)},
        {"spec": a_spec(promotion={"prometheus": {"url": "http://other:9090"}})},
    ],
)
def test_what_was_known_of_something_else_stands_in_for_nothing(server, reported, other):
    assert reported() == "1"
    server.free.clear()
    assert reported(9, **other) == LATE


@pytest.fixture(autouse=True)
def no_counters(resource):
    metrics.forget(resource.full_name)


def test_a_question_that_fails_with_something_unforeseen_is_reported_logged_and_asked_again(resource, caplog):
    errors = [KeyError("value")]

    def measure(*_):
        if errors:
            raise errors.pop()
        return Found()

    polling = Polling(measure)
    problem = polling.found(resource, STATUS, NOW).evidence.problem
    assert "KeyError" in problem
    assert "in measure" in caplog.text
    # What an unforeseen exception quotes may be anything, also a credential.
    assert "value" not in problem + caplog.text.replace("KeyError", "").replace("errors.pop()", "")
    assert polling.found(resource, STATUS, NOW) == Found()


def test_a_resource_that_is_gone_is_forgotten(server, resource):
    polling = Polling(server.measure, patience=0.2)
    assert polling.found(resource, STATUS, NOW).evidence.problem == "1"
    polling.forget(resource.full_name)
    server.free.clear()
    assert polling.found(resource, STATUS, NOW).evidence.problem == LATE


def test_a_server_that_was_late_is_not_waited_for_and_one_that_is_in_time_again_is(server, resource):
    polling = Polling(server.measure, patience=1.0)
    server.free.clear()
    began = time.monotonic()
    for _ in range(5):
        assert polling.found(resource, STATUS, NOW).evidence.problem == LATE
    assert time.monotonic() - began < 3
    server.free.set()
    wait_until(lambda: polling.found(resource, STATUS, NOW).evidence.problem != LATE)
    server.free.clear()
    threading.Timer(0.3, server.free.set).start()
    wait_until(lambda: polling.found(resource, STATUS, NOW).evidence.problem != "1")
    polling.close()


def test_servers_of_one_namespace_that_hang_leave_another_s_asked_in_time(server, resource):
    held, asked = threading.Event(), []

    def measure(about, *_):
        if about.namespace == "hostile":
            held.wait(20)
        asked.append(about.namespace)
        return Found()

    polling = Polling(measure, patience=0.01)
    for number in range(500):
        polling.found(replace(resource, namespace="hostile", name=f"n{number}"), STATUS, NOW)
    patient = Polling(measure, patience=5)
    patient._threads = polling._threads
    assert patient.found(resource, STATUS, NOW) == Found()
    assert asked == [resource.namespace]
    held.set()
    polling.close()


def test_a_question_that_ends_after_its_resource_leaves_nothing_behind(resource):
    held, ended = threading.Event(), threading.Event()

    def measure(about, status, now, ledgers, engines):
        held.wait(10)
        ledgers[about.full_name] = "read"
        ended.set()
        raise KeyError("late")

    polling = Polling(measure, patience=0.01)
    polling.found(resource, STATUS, NOW)
    polling.forget(resource.full_name)
    held.set()
    assert ended.wait(10)
    wait_until(lambda: not polling._ledgers)
    polling.close()
    sample = REGISTRY.get_sample_value(
        "aurora_operator_failures_total", {"speculator": resource.full_name, "what": "evidence"}
    )
    assert sample is None
