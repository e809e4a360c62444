"""Conversations in the forms of data sets, answered by a server turn after turn, and resumed."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from aurora_core.datasets import conversations, generation
from aurora_core.errors import ConfigError
from command_line import run
from http_support import Replies

MESSAGES = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "one"}]}
SHAREGPT = {
    "id": "x",
    "topic": "maths",
    "conversations": [
        {"from": "human", "value": "one"}, {"from": "gpt", "value": "theirs"}, {"from": "human", "value": "two"},
    ],
}  # fmt: skip


def write(path, *objects):
    path.write_text("\n".join(map(json.dumps, objects)) + "\n")
    return path


def test_both_forms_are_read_from_lines_and_arrays(tmp_path):
    lines = write(tmp_path / "a.jsonl", MESSAGES, SHAREGPT)
    (tmp_path / "b.json").write_text(json.dumps([MESSAGES, SHAREGPT], indent=1))
    found = conversations.read([lines, tmp_path / "b.json"])
    assert [one.id for one in found] == ["a.jsonl:1", "a.jsonl:x", "b.json:1", "b.json:x"]
    assert [one.domain for one in found] == ["a", "a", "b", "b"]
    assert found[1].messages == found[3].messages
    assert [message["role"] for message in found[1].messages] == ["user", "assistant", "user"]
    assert conversations.read([lines], "topic")[1].domain == "maths"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no conversation"),
        ("{", "line 1 is not JSON"),
        ("[1", "is not JSON"),
        ("[1]", "object 1: expected a JSON object"),
        ('\n{"messages": []}', "line 2: expected"),
        ('{"messages": [{"role": "user"}]}', "'content' of message 1 is None"),
        ('{"conversations": [{"from": "bing", "value": "a"}]}', "'bing', none of human"),
        ('{"id": 1, "messages": [{"role": "user", "content": "a"}]}\n' * 2, "line 2: the id 1 was there before"),
        ("\ufffe", "line 1 is not JSON"),
    ],
)
def test_what_is_no_conversation_says_where(tmp_path, text, message):
    (tmp_path / "p.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        conversations.read([tmp_path / "p.jsonl"])


class Server(Replies, BaseHTTPRequestHandler):
    asked: ClassVar[list] = []
    failing: ClassVar[frozenset] = frozenset()

    def do_GET(self):
        self._reply(200, {"data": [{"id": "the model"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        last = body["messages"][-1]["content"]
        Server.asked.append(body)
        if last in self.failing:
            self._reply(500, {})
        else:
            self._reply(200, {"choices": [{"message": {"content": f"answer to {last}"}}]})

    def log_message(self, *args):
        pass


@pytest.fixture
def url():
    Server.asked, Server.failing = [], frozenset()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_every_turn_is_the_target_s_own(tmp_path, url):
    out = tmp_path / "out.jsonl"
    status, printed, _ = run("generate", write(tmp_path / "a.jsonl", SHAREGPT), "--url", url, "--out", out)
    assert status == 0
    assert "1 answered, 0 from before, 0 failed" in printed
    line = json.loads(out.read_text())
    assert [m["content"] for m in line["messages"]] == ["one", "answer to one", "two", "answer to two"]
    assert (Server.asked[0]["model"], Server.asked[0]["temperature"]) == ("the model", 0)
    assert [one.messages for one in conversations.read([out])] == [tuple(line["messages"])]


def test_a_run_resumes_and_tries_failures_again(tmp_path, url):
    asked = [{"messages": [{"role": "user", "content": f"q{i}"}]} for i in range(6)]
    prompts, out = write(tmp_path / "a.jsonl", *asked), tmp_path / "out.jsonl"
    Server.failing = frozenset({"q2"})
    status, printed, err = run("generate", prompts, "--url", url, "--out", out, "--concurrency", 2)
    assert status == 1
    assert "5 answered, 0 from before, 1 failed" in printed
    assert "failed: a.jsonl:3: HTTPStatusError" in err
    kept = out.read_bytes()
    out.write_bytes(kept + b'{"id": "a.jsonl:3", "mess')
    Server.failing, Server.asked = frozenset(), []
    status, printed, _ = run("generate", prompts, "--url", url, "--out", out)
    assert (status, len(Server.asked)) == (0, 1)
    assert "1 answered, 5 from before, 0 failed" in printed
    assert out.read_bytes().startswith(kept)
    assert {one.id.rpartition(":")[2] for one in conversations.read([out])} == {str(i) for i in range(1, 7)}


def test_files_of_others_and_servers_that_are_none_are_errors(tmp_path, url):
    prompts = write(tmp_path / "a.jsonl", MESSAGES)
    (tmp_path / "mine.jsonl").write_text("notes\n")
    status, _, err = run("generate", prompts, "--url", url, "--out", tmp_path / "mine.jsonl")
    assert status == 1
    assert "was not written by this command" in err
    status, _, err = run("generate", prompts, "--url", "http://127.0.0.1:9", "--out", tmp_path / "o.jsonl")
    assert status == 1
    assert "no OpenAI-compatible server answers" in err


def test_what_no_user_wrote_cannot_be_answered():
    with pytest.raises(ConfigError, match="no message of a user"):
        generation.turns([{"role": "system", "content": "s"}])
