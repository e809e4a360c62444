"""Prompts of a data set in mode Online: asked beside users, who go first; counted, tried again, and never twice."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aurora_core.datasets.conversations import Conversation
from aurora_core.datasets.generation import Requesting
from aurora_core.online import prompts
from aurora_core.online.prompts import Asked, Feed
from aurora_core.waiting import wait
from command_line import run
from http_support import Replies


class Engine(ThreadingHTTPServer):
    """Answers as SGLang does, and says how many requests it has."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.users, self.asked, self.failures = 0, [], {}
        self.running = self.most = 0
        self.slow = 0.0
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class _Handler(Replies, BaseHTTPRequestHandler):
    def do_GET(self):
        engine = self.server
        running = {"num_running_reqs": engine.running, "num_waiting_reqs": engine.users}
        self._reply(200, {"data": [{"id": "m"}]} if self.path == "/v1/models" else {"loads": [running]})

    def do_POST(self):
        engine = self.server
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][-1]["content"]
        engine.running += 1
        engine.most = max(engine.most, engine.running)
        engine.asked.append(prompt)
        time.sleep(engine.slow)
        engine.running -= 1
        if engine.failures.get(prompt, 0) > 0:
            engine.failures[prompt] -= 1
            self._reply(500, {})
        else:
            self._reply(200, {"choices": [{"message": {"content": "yes"}}]})

    def log_message(self, *args):
        pass


@pytest.fixture
def engine(monkeypatch):
    monkeypatch.setattr(prompts, "_POLL_SECONDS", 0.03)
    monkeypatch.setattr(prompts, "_AGAIN_SECONDS", 0.01)
    engine = Engine()
    yield engine
    engine.shutdown()
    engine.server_close()


def a_feed(engine, kept, count=6, concurrency=2, **more):
    asked = [Conversation(f"f:{i}", "f", ({"role": "user", "content": f"q{i}"},)) for i in range(count)]
    feed = Feed(Asked(asked, Requesting("", concurrency=concurrency)), engine.url, [engine.url], kept, **more)
    feed.start()
    return feed


def wait_for(condition):
    wait("the feed", condition, 10, every=0.01)


def test_all_are_asked_once_and_none_again_by_the_next_run(engine, tmp_path):
    feed = a_feed(engine, tmp_path / "answered")
    wait_for(lambda: feed.done)
    assert sorted(engine.asked) == [f"q{i}" for i in range(6)]
    assert engine.most <= 2
    assert feed.summary() == "prompts: 6 of 6 answered, 0 under way"
    feed.stop()
    again = a_feed(engine, tmp_path / "answered", count=7)
    wait_for(lambda: again.done)
    again.stop()
    assert engine.asked[6:] == ["q6"]
    assert again.answered == 7


def test_users_go_first(engine, tmp_path):
    engine.users, engine.slow = 2, 0.05
    feed = a_feed(engine, tmp_path / "answered", count=12)
    time.sleep(0.3)
    assert engine.asked == []
    assert feed.summary() == "prompts: 0 of 12 answered, 0 under way, held back by users"
    engine.users = 1
    wait_for(lambda: len(engine.asked) >= 3)
    assert engine.most == 1, "one of two concurrent requests is a user's"
    engine.users = 0
    wait_for(lambda: feed.done)
    assert engine.most == 2
    feed.stop()


def test_an_engine_that_does_not_say_what_it_has_is_asked_nothing(engine, tmp_path):
    asked = [Conversation("f:1", "f", ({"role": "user", "content": "q"},))]
    feed = Feed(Asked(asked, Requesting("", concurrency=1)), engine.url, ["http://127.0.0.1:1"], tmp_path / "answered")
    feed.start()
    time.sleep(0.1)
    feed.stop()
    assert engine.asked == []
    assert not feed.done


def test_a_failure_is_tried_again_and_given_up_after_some_tries(engine, tmp_path):
    engine.failures = {"q0": 2, "q1": 99}
    feed = a_feed(engine, tmp_path / "answered", count=3)
    wait_for(lambda: feed.done)
    feed.stop()
    assert (feed.answered, feed.failed) == (2, 1)
    assert "1 failed (f:1: HTTPStatusError" in feed.summary()
    assert sorted((tmp_path / "answered").read_text().splitlines()) == ["f:0", "f:2"]


def test_what_runs_when_it_is_stopped_is_asked_again_by_the_next_run(engine, tmp_path):
    engine.slow = 0.3
    feed = a_feed(engine, tmp_path / "answered", count=2)
    wait_for(lambda: engine.running == 2)
    feed.stop()
    assert not (tmp_path / "answered").exists()
    assert not feed.done


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--prompts", "p.jsonl", "--address", "auto"), "aurora-core generate FILE --url URL"),
        (("--until-trained",), "--until-trained needs --prompts"),
        (("--prompts", "/nowhere.jsonl"), "cannot read the conversations /nowhere.jsonl"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_starts(tmp_path, arguments, message):
    (tmp_path / "c.yaml").write_text("target: {model: m}\nsamples: {transport: ray}\n")
    status, _, err = run("online", "--config", tmp_path / "c.yaml", "--work", tmp_path, *arguments)
    assert status not in {0, None}
    assert message in f"{err}{status}"
