"""What a running engine's answers say of its speed, and an engine of a command's own."""

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from aurora_core.datasets.server import serving
from aurora_core.engine.launch import Command
from aurora_core.errors import EngineError
from aurora_core.evaluation.speed import cycle_milliseconds, speed

PREFILL, CYCLE = 0.02, 0.01


class Engine(BaseHTTPRequestHandler):
    """Two tokens a cycle: a prefill with the first token, then cycles."""

    def do_POST(self):
        most = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["sampling_params"]["max_new_tokens"]
        cycles = (most - 1) // 2
        time.sleep(PREFILL + CYCLE * cycles)
        meta = {"finish_reason": {"type": "length"}, "spec_verify_ct": cycles, "spec_num_correct_drafts": cycles}
        content = json.dumps({"output_ids": list(range(most)), "meta_info": meta}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_prefill_is_no_part_of_a_cycle(url):
    found = cycle_milliseconds(url, [f"p{i}" for i in range(4)], 1, 21)
    # Ten cycles; a machine that is busy only ever makes them longer.
    assert 0.8 * 1000 * CYCLE < found < 20 * 1000 * CYCLE


def test_speed_is_by_request_and_all_together(url):
    found = speed(url, [f"p{i}" for i in range(6)], 3, 21)
    assert (found.answered, found.failed, found.accept_length.value) == (6, 0, 2.0)
    assert found.tokens_per_second > found.request_tokens_per_second.value > 0


def test_an_engine_that_answers_nothing_is_an_error():
    with pytest.raises(EngineError, match="answered no request"):
        speed("http://127.0.0.1:9", ["p"], 1, 4)
    with pytest.raises(EngineError, match="answered no request"):
        cycle_milliseconds("http://127.0.0.1:9", ["p"], 1, 4)


HEALTHY = """
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
"""


def test_an_engine_of_ones_own_ends_with_its_use(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as free:
        port = free.server_port
    command = Command((sys.executable, "-c", HEALTHY, str(port)), dict(os.environ))
    with serving(command, f"http://127.0.0.1:{port}", tmp_path / "log") as url:
        assert httpx.get(f"{url}/health").status_code == 200
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/health", timeout=1)


def test_an_engine_that_ends_shows_its_last_lines(tmp_path):
    command = Command((sys.executable, "-c", "print('no such model'); exit(3)"), dict(os.environ))
    failing = serving(command, "http://127.0.0.1:9", tmp_path / "log")
    with pytest.raises(EngineError, match="no such model"), failing:
        pass
