"""An engine's own agent that ends again and again is started less and less often, and its engine serves on."""

import contextlib
import errno
import os
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from aurora_core.child import Process
from aurora_core.config import DeploymentConfig
from aurora_core.engine.settings import Desired
from aurora_core.errors import EngineError
from aurora_core.online import engine_actor, own_agent, shown
from aurora_core.online.engine_actor import EngineActor, EngineReport, EngineSetup
from aurora_core.online.own_agent import OwnAgent
from aurora_core.protocol.trainer import TrainerStatus
from ports import free_port
from ray.exceptions import GetTimeoutError
from workshop.waiting import wait

SERVER = """
import http.server, sys
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
port, left = map(int, sys.argv[1:])
if left:
    server = http.server.HTTPServer(("127.0.0.1", port), Answers)
while left:
    server.handle_request()
    left -= 1
sys.exit("no more answers")
"""
FOR_EVER = -1


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """A question that is given up on a busy machine would use up an answer."""
    monkeypatch.setattr(own_agent, "_PROBE_SECONDS", 20.0)


def answering(name, port, answers, log):
    """A process that answers so often and then ends."""
    command = [sys.executable, "-S", "-c", SERVER, str(port), str(answers)]
    return Process.start(name, command, os.environ, log)


# --- how long it waits ---------------------------------------------------------------------------------------------


class Agents:
    """Processes of an agent: how many answers each has before it ends, the last one's for all after it."""

    def __init__(self, folder, answers):
        self.port, self.left, self.starts, self.error = free_port(), list(answers), 0, None
        self.log = folder / "agent.log"
        self.own = OwnAgent("engine-0", f"http://127.0.0.1:{self.port}/healthz", self.start, 10.0)

    def start(self):
        self.starts += 1
        if self.error is not None:
            raise self.error
        answers = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        return answering("agent", self.port, answers, self.log)

    def tend(self, now, until):
        """Tend it at a time until something is true."""

        def tended():
            self.own.tend(now)
            return until()

        wait("the agent", tended, 20, every=0.02)


@pytest.fixture
def agents(tmp_path):
    with contextlib.ExitStack() as stack:

        def make(*answers):
            made = Agents(tmp_path, answers)
            stack.callback(made.own.end)
            return made

        yield make


def test_an_agent_that_ends_again_and_again_is_started_less_and_less_often(agents):
    """Given one that answers once and ends, when it is tended, then it starts after 2 s, 4 s ... and never before."""
    one, now = agents(1), 0.0
    for waits in (2, 4, 8, 16, 32, 60, 60):
        one.tend(now, lambda: one.own.up)
        one.tend(now, lambda: not one.own.up)
        starts = one.starts
        for early in (0, waits / 2, waits - 0.01):
            one.own.tend(now + early)
        assert one.starts == starts, "not yet"
        now += waits
        one.own.tend(now)
        assert one.starts == starts + 1
        assert one.own.restarts == starts


def test_an_agent_that_does_not_start_again_is_waited_for_and_ends_nothing(agents):
    """Given one that was there, when another ends before it answers, then it is down, and started again later."""
    one = agents(1, 0, FOR_EVER)
    one.tend(0.0, lambda: one.own.up)
    one.tend(0.0, lambda: not one.own.up)
    one.own.tend(2.0)
    one.tend(2.0, lambda: one.starts == 2 and one.own._process is None)
    one.own.tend(5.9)
    assert (one.starts, one.own.up, one.own.answered) == (2, False, True)
    one.own.tend(6.0)
    one.tend(6.0, lambda: one.own.up)
    assert one.own.restarts == 2


def test_an_agent_that_runs_and_does_not_answer_is_replaced(agents, monkeypatch):
    one = agents(1, FOR_EVER)
    one.tend(0.0, lambda: one.own.up)
    one.tend(0.0, lambda: not one.own.up)
    one.own.tend(2.0)
    hung = one.own._process
    hung.pause()
    monkeypatch.setattr(own_agent, "_PROBE_SECONDS", 0.2)
    one.own.tend(2.0 + 119)
    assert hung.alive()
    one.own.tend(2.0 + 121)
    assert not hung.alive()
    assert not one.own.up


def test_an_agent_that_has_no_process_or_no_log_is_waited_for_and_ends_nothing(agents):
    """Given one that was there, when fork fails, and then the log of one that ended is gone, then it starts later."""
    one = agents(1, 0, FOR_EVER)
    one.tend(0.0, lambda: one.own.up)
    one.tend(0.0, lambda: not one.own.up)
    one.error = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    one.own.tend(2.0)
    assert (one.starts, one.own.up, one.own._process) == (2, False, None)
    one.error = None
    one.own.tend(5.9)
    assert one.starts == 2, "not yet"
    one.own.tend(6.0)
    one.log.unlink()
    one.tend(6.0, lambda: one.own._process is None)
    one.own.tend(14.0)
    one.tend(14.0, lambda: one.own.up)


def test_a_first_agent_that_has_no_process_says_so(agents):
    one = agents(FOR_EVER)
    one.error = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    with pytest.raises(BlockingIOError):
        one.own.tend(0.0)


def test_the_first_agent_must_start(agents):
    one = agents(0)
    with pytest.raises(EngineError, match=r"agent ended with status 1.*\n.*no more answers"):
        one.tend(0.0, lambda: False)


# --- beside its engine ---------------------------------------------------------------------------------------------


class Actor(EngineActor):
    """An engine's actor whose processes only answer; Ray is not there."""

    def __init__(self, folder, agents):
        serving = {"port": free_port(), "agentPort": free_port(), "host": "127.0.0.1"}
        config = DeploymentConfig.model_validate(
            {"target": {"model": "x"}, "samples": {"transport": "Ray"}, "serving": serving}
        )
        names = ("work", "models", "spool", "runtime", "logs")
        super().__init__(EngineSetup("engine-0", config, *(folder / name for name in names)))
        self.agents, self.starts, self.ended, self.error = list(agents), [], threading.Event(), None

    def _start(self, name, arguments, environment):
        serving = self._setup.config.serving
        if name == "engine":
            return answering(name, serving.port, FOR_EVER, self._setup.logs / "engine.log")
        self.starts.append(time.monotonic())
        answers = self.agents.pop(0) if len(self.agents) > 1 else self.agents[0]
        return answering(name, serving.agent_port, answers, self._setup.logs / "agent.log")

    def serve(self):
        trainer = SimpleNamespace(exchange=SimpleNamespace(remote=lambda *_: "call"))
        try:
            self.run(Desired(version=0, steps=0), trainer)
        except EngineError as error:
            self.error = error
        self.ended.set()


class SilentTrainer:
    """Ray, with a trainer that never answers."""

    def put(self, payload):
        return payload

    def wait(self, calls, timeout):
        time.sleep(timeout)
        return [], calls

    def get(self, _call, timeout):
        time.sleep(timeout)
        raise GetTimeoutError


@pytest.fixture
def actor(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_actor, "ray", SilentTrainer())
    running = []

    def make(*agents):
        made = Actor(tmp_path, agents)
        thread = threading.Thread(target=made.serve)
        thread.start()
        running.append((made, thread))
        wait("serving", lambda: made.report().up, 30)
        return made

    yield make
    for made, thread in running:
        made.stop()
        thread.join()


def test_an_agent_that_ends_at_once_each_time_leaves_its_engine_alone_and_does_not_spin(actor):
    """Given an agent that answers once, and none after it that starts, then the engine stays the same."""
    one = actor(1, 0)
    pid = one.report().pid
    wait("three agents", lambda: len(one.starts) == 3 or one.error, 30)
    assert one.error is None
    assert one.starts[1] - one.starts[0] >= 2
    assert one.starts[2] - one.starts[1] >= 4
    report = one.report()
    assert (report.up, report.pid, report.agents, report.lacks_agent) == (True, pid, 2, True)


def test_an_engines_end_is_noticed_while_its_agent_waits_and_the_trainer_is_silent(actor):
    one = actor(1, 0)
    wait("an agent that ended", lambda: one.report().lacks_agent, 30)
    os.kill(one.report().pid, 9)
    killed = time.monotonic()
    assert one.ended.wait(20)
    assert "engine ended with status -9" in str(one.error)
    assert time.monotonic() - killed < 5


def test_the_line_says_where_there_is_no_agent():
    reports = {
        "engine-0": EngineReport(up=True, agents=4, lacks_agent=True),
        "engine-1": EngineReport(up=True, agents=1),
        "engine-2": None,
    }
    cluster = SimpleNamespace(reports=lambda: reports, restarts={})
    line = shown.line(cluster, TrainerStatus(damaged=2), None, None)
    assert "2 damaged training states or versions were passed over" in line
    assert "5 agents were started again alone" in line
    assert "no agent of engine-0 answers: no version goes live until it does" in line
