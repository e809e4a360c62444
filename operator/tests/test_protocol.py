"""What crosses processes is one declaration: agent and gate cannot disagree, and no answer can break a reconcile."""

import json
import re
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aurora_core.agent.client import AgentClient
from aurora_core.agent.metrics import EngineCollector
from aurora_core.agent.signatures import ANSWER_HEADER, Signed, sign_answer
from aurora_core.errors import EngineError
from aurora_core.protocol import metrics
from aurora_core.protocol.agent import Volume
from aurora_core.protocol.engine import ArmCounters, CaptureState, DraftState, EngineState, measured
from aurora_core.protocol.message import MOST_TEXT, MalformedError
from aurora_operator.promotion.counters import NAMES, Arm, Counters, Series
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
FIELDS = [name for name, _ in measured(ArmCounters)]
STATE = EngineState(
    draft=DraftState(live=7),
    steps=3,
    capture=CaptureState(rate=1.0, dropped={"aborted": 2}),
    arms=(ArmCounters(version=7, steps=3, **{name: at + 1 for at, name in enumerate(FIELDS)}),),
    errors={"after_forward": 1},
)


def scraped(state):
    registry = CollectorRegistry()
    labels = {metrics.SPECULATOR: "ns/chat", metrics.ENGINE: "chat-engine-1"}
    registry.register(EngineCollector(lambda: state, lambda: Volume(free=1, total=2), labels))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return [sample for family in families for sample in family.samples]


def test_what_the_gate_reads_is_what_the_agent_exports():
    counters = Counters(Arm(7, 3), 0.0, from_zero=True, length=60.0)
    counters.add([Series({**s.labels, "__name__": s.name}, ((10.0, s.value),)) for s in scraped(STATE)])
    exported = {str(one): getattr(STATE.arms[0], name) for name, one in measured(ArmCounters)}
    assert counters.engines["chat-engine-1"].inside[0] == tuple(exported[name] for name in NAMES)


def test_everything_exported_is_declared():
    names = {name for metric in metrics.ALL for name in metric.series}
    assert {sample.name for sample in scraped(STATE)} <= names
    assert len({metric.name for metric in metrics.ALL}) == len(metrics.ALL)


def test_no_name_of_a_metric_is_written_twice():
    declared = {metric.name.removeprefix("aurora_") for metric in metrics.ALL}
    folders = [ROOT / "aurora_core" / "src", ROOT / "operator" / "src", ROOT / "tools", ROOT / "benchmarks"]
    again = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in folders
        for path in folder.rglob("*.py")
        if path.name != "metrics.py" or path.parent.name != "protocol"
        for name in re.findall(r"aurora_(\w+?)(?:_total|_bucket|_sum|_count)?\b", path.read_text())
        if name in declared and (path.name, name) != ("metrics.py", "engine_up")
    }
    assert not again


def test_a_state_survives_the_wire():
    assert EngineState.read(json.loads(json.dumps(STATE.plain()))) == STATE
    assert EngineState.read(STATE.plain() | {"of_a_later_version": [1]}) == STATE


@pytest.mark.parametrize(
    "damage",
    [
        {"draft": []},
        {"draft": {"live": "seven"}},
        {"draft": {"live": -1}},
        {"draft": {"live": 10**30}},
        {"draft": {"live": 7, "failed": [7]}},
        {"draft": {"live": 7, "failed": {"x": "y"}}},
        {"steps": None},
        {"capture": {"rate": float("nan")}},
        {"capture": {"rate": 1, "dropped": {"aborted": "many"}}},
        {"arms": {"version": 7}},
        {"arms": [{"version": 7, "steps": 3, "accept_tokens": float("inf")}]},
    ],
)
def test_another_type_is_an_error_that_names_the_field(damage):
    with pytest.raises(MalformedError, match=next(iter(damage))):
        EngineState.read(STATE.plain() | damage)


def test_another_process_text_is_cut():
    state = EngineState.read(STATE.plain() | {"draft": {"live": 7, "failed": {"8": "x" * 10_000}}})
    assert state.draft.failed == {8: "x" * MOST_TEXT}


@pytest.fixture
def agent():
    """An agent that answers whatever it is set to."""

    class Handler(BaseHTTPRequestHandler):
        answer, status, key = b"", 200, "key"

        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            nonce = Signed.read(self.headers["Authorization"]).nonce
            self.send_response(Handler.status)
            self.send_header(ANSWER_HEADER, sign_answer(Handler.key, nonce, Handler.status, Handler.answer))
            self.send_header("Content-Length", str(len(Handler.answer)))
            self.end_headers()
            self.wfile.write(Handler.answer)

        do_POST = do_GET  # noqa: N815 (the server's own name)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    with closing(AgentClient(f"http://127.0.0.1:{server.server_address[1]}", "key")) as client:
        yield Handler, client
    server.shutdown()
    server.server_close()


CALLS = [
    AgentClient.live,
    AgentClient.contents,
    AgentClient.volume,
    lambda client: client.load(1),
    lambda client: client.set_steps(1),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [200, 409, 502])
@pytest.mark.parametrize("answer", ["[]", "null", "7", '"text"', "[[]]", '{"error": {"a": 1}}'])
def test_no_answer_raises_anything_but_an_error_of_the_engine(agent, call, status, answer):
    handler, client = agent
    handler.answer, handler.status = answer.encode(), status
    if call is CALLS[-1] and answer.startswith("{") and status == 200:
        call(client)
        return
    with pytest.raises(EngineError, match=rf"answers /v1/[a-z]+ with status {status} and not as"):
        call(client)


def test_a_refusal_is_passed_on(agent):
    handler, client = agent
    handler.answer, handler.status = b'{"error": "version 9 is not in /data"}', 409
    with pytest.raises(EngineError, match=r"^version 9 is not in /data$"):
        client.load(9)


def test_before_the_trainer_reported_there_is_no_status(agent):
    handler, client = agent
    handler.answer = b"{}"
    assert client.training() is None
    handler.answer = b'{"step": 3, "loss": null}'
    assert client.training().step == 3
