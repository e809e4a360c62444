"""Mode Online on a local Ray: served, trained on by two ranks, swapped; and what is killed comes back."""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess

import httpx
import online_command
import pytest
from aurora_core.agent.client import AgentClient
from aurora_core.config import OnlineConfig
from aurora_core.errors import EngineError
from aurora_core.evaluation.requests import Stream, measure
from aurora_core.online.setup import spool_below
from aurora_core.protocol.trainer import STATUS_FILE, TrainerStatus
from engine_support import ROOT
from machine import patience
from ports import free_port
from workshop.waiting import wait

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]
TRAINER, ENGINE = "ray::TrainerActor", "ray::EngineActor"
AGENT = "aurora_core.cli\0agent"
RANKS = 2


class Running:
    """The command, and what it shows of itself."""

    def __init__(self, work, target):
        self.key, self.work = secrets.token_hex(16), work
        serving, agent = free_port(), free_port()
        small = {
            "target.model": target.path,
            "serving.port": serving,
            "serving.agent_port": agent,
            "training.start_samples": 4,
            "training.micro_batch": 4,
            "training.publish_every_steps": 4,
            "training.save_every_steps": 2,
            "training.holdout_fraction": 0.3,
            "online.temp": work / "ray",
            "online.trainers": 2,
            "online.training_cpus": 0.5,
        }
        asked = work / "asked.jsonl"
        asked.write_text(
            "".join(f'{{"messages": [{{"role": "user", "content": "What is {n} + {n}?"}}]}}\n' for n in range(4))
        )
        prompts = ("--prompts", str(asked), "--prompts-concurrency", "3", "--prompts-max-tokens", "12")
        config = ROOT / "examples" / "smollm2-online.yaml"
        self.process = online_command.start(config, work, small, self.key, *prompts)
        self.url = f"http://127.0.0.1:{serving}"
        self.agent_url = f"http://127.0.0.1:{agent}"
        self.agent = AgentClient(self.agent_url, self.key, name="engine-0")

    def log(self):
        return self.process.log.read_text()

    def status(self):
        return TrainerStatus.of(self.work / "training" / STATUS_FILE)

    def pids(self, name=""):
        """Processes of this command."""
        return online_command.pids(self.key, name)

    def kill(self, name):
        """The process of an actor, of the oldest one where there are several."""
        pid = min(self.pids(name))
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for(self, what, condition, seconds=90):
        def seen():
            self.process.check()
            try:
                found = condition()
            except (httpx.HTTPError, EngineError):
                return None
            # A value such as 0 counts as well.
            return None if found is None or found is False else (found,)

        return wait(what, seen, patience(seconds), state=lambda: self.log()[-1500:])[0]


@pytest.fixture(scope="module")
def online(tmp_path_factory, target, prompts):
    running = Running(tmp_path_factory.mktemp("o"), target)
    try:
        running.wait_for("serving", lambda: "serving at" in running.log(), 180)
        running.traffic = Stream.start(running.url, prompts[:60], 2, 24)
        yield running
        running.traffic.stop()
    finally:
        running.process.stop()
        running.agent.close()


def test_answers_are_streamed(online):
    body = {"model": "x", "stream": True, "max_tokens": 12, "messages": [{"role": "user", "content": "Count to ten."}]}
    with httpx.stream("POST", f"{online.url}/v1/chat/completions", json=body, timeout=60) as response:
        lines = [line for line in response.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    # How many tokens come together is the machine's and the draft's business.
    pieces = [json.loads(line[6:])["choices"][0]["delta"].get("content") for line in lines[:-1]]
    assert len([*filter(None, pieces)]) > 1


def test_nothing_of_ray_listens_on_the_network(online):
    """SGLang's scheduler does, with a port of torch's, as in every mode."""
    ours, networks = set(online.pids()) - set(online.pids("sglang")), []
    for line in subprocess.run(["ss", "-ltnpH"], check=True, capture_output=True, text=True).stdout.splitlines():  # noqa: S607
        address = line.split()[3]
        if ours & {int(pid) for pid in re.findall(r"pid=([0-9]+)", line)} and "127.0.0.1" not in address:
            networks.append(line)
    assert networks == []


def test_a_real_agent_does_nothing_without_the_key_and_is_not_believed_without_it(online):
    online.wait_for("the agent answers who has it", online.agent.live, 60)
    for name in ("/v1/live", "/v1/versions"):
        assert httpx.get(f"{online.agent_url}{name}", timeout=60).status_code == 401
    for key, name in (("another-key-0123456789", "engine-0"), (online.key, "engine-1")):
        other = AgentClient(online.agent_url, key, name=name)
        with contextlib.closing(other), pytest.raises(EngineError, match="not with this deployment's key"):
            other.set_steps(0)


def test_a_data_set_is_asked_beside_users(online):
    """Who have two of the three requests at a time, and go first."""
    online.wait_for("all prompts", lambda: "prompts: 4 of 4 answered" in online.log(), 120)
    assert not online.traffic.record.failures


def test_what_is_served_is_trained_on_and_goes_live(online):
    live = online.wait_for("a version goes live", lambda: online.agent.live().draft.live or None)
    shown = online.wait_for(
        "the lag is shown",
        lambda: re.search(r"capture to live ([0-9.]+) s, decoding waited ([0-9.]+) ms", online.log()),
    )
    print(f"version {live}: capture to live {shown[1]} s, decoding waited {shown[2]} ms")
    assert online.status().received > 0
    state = online.agent.live()
    assert state.capture.dropped.get("spool_full", 0) == 0
    assert state.errors == {}
    kept = json.loads((online.work / "record" / "promotion.json").read_text())
    assert kept["version"] >= 1


def test_a_killed_trainer_resumes_and_finds_its_pool_again_and_an_agent_leaves_its_engine_alone(online):
    online.wait_for("a state is saved", lambda: online.status().step >= 2)
    before, serves = online.status(), set(online.pids("sglang"))
    killed, agent = online.kill(TRAINER), online.kill(AGENT)
    online.wait_for("two ranks again", lambda: len(pids := online.pids(TRAINER)) == RANKS and killed not in pids, 120)
    after = online.wait_for(
        "training resumes", lambda: (now := online.status()).step > before.step and now.loss is not None and now
    )
    assert after.samples >= before.samples, "the pool is offered again"
    assert after.ranks == RANKS
    # Its agent was killed with it, and nobody who is served notices either.
    online.wait_for("another agent", lambda: online.agent.live() and online.pids(AGENT) not in ([], [agent]))
    assert serves
    assert set(online.pids("sglang")) == serves
    assert not online.traffic.record.failures


def test_a_killed_engine_comes_back_with_the_version_that_was_live(online, prompts):
    live = json.loads((online.work / "record" / "promotion.json").read_text())["version"]
    step, killed = online.status().step, online.kill(ENGINE)
    online.wait_for("another engine's actor", lambda: online.pids(ENGINE) not in ([], [killed]))
    online.wait_for("serving again", lambda: httpx.get(f"{online.url}/health", timeout=5).status_code == 200)
    online.wait_for("the agent", lambda: online.agent.live().draft.live >= live)
    assert not measure(online.url, prompts[:1], 1, 8).failures
    online.wait_for("training continues", lambda: online.status().step > step)


def test_nothing_is_left_when_it_stops(online):
    online.traffic.stop()
    os.kill(online.process.pid, signal.SIGTERM)
    wait("its end", lambda: not online.process.alive(), patience(60), state=lambda: online.log()[-1500:])
    assert online.process._child.poll() == 143, online.log()[-1500:]
    assert online.pids() == []
    assert online.log().count("did not end in good order") == 0
    assert not spool_below(OnlineConfig(), online.work).exists()
    assert (online.work / "training" / "versions").is_dir()
