"""A real engine with an API key and an admin key: who reaches what, and that no key shows anywhere."""

import json
from pathlib import Path

import httpx
import pytest
from engine_support import ADMIN_KEY, API_KEY

from aurora_core import listening

pytestmark = pytest.mark.filterwarnings("ignore")
BODY = {"text": "Hello", "sampling_params": {"max_new_tokens": 2, "temperature": 0}}


@pytest.fixture(scope="module")
def guarded(start):
    return start("guarded", steps=0, extra=("--max-total-tokens", "2000"), api_key=API_KEY)


def call(running, method, path, key=None, body=None):
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.request(method, f"{running.url}{path}", headers=headers, json=body, timeout=60)


def test_users_need_their_key_and_reach_nothing_else(guarded):
    assert call(guarded, "POST", "/generate", None, BODY).status_code == 401
    assert call(guarded, "POST", "/generate", "wrong", BODY).status_code == 401
    assert call(guarded, "POST", "/generate", API_KEY, BODY).status_code == 200
    assert call(guarded, "GET", "/v1/models", API_KEY).status_code == 200
    assert call(guarded, "GET", "/health").status_code == 200
    for key in (None, API_KEY):
        for path in ("/server_info", "/get_server_info", "/model_info", "/metrics", "/metrics/", "/v1/loads"):
            assert call(guarded, "GET", path, key).status_code == 403, path
        for path in ("/flush_cache", "/set_internal_state", "/configure_logging", "/update_weights_from_disk"):
            assert call(guarded, "POST", path, key, {}).status_code == 403, path


@pytest.mark.skipif(not listening.has_ipv6(), reason="this machine has no IPv6")
def test_it_answers_at_ipv6_too(guarded):
    url = guarded.url.replace("127.0.0.1", "[::1]")
    assert httpx.get(f"{url}/health", timeout=60).status_code == 200
    assert httpx.get(f"{url}/server_info", timeout=60).status_code == 403


def test_the_control_plane_works_beside_a_key_for_users(guarded):
    state = guarded.control.state()
    assert state.steps == 0
    guarded.control.set_sample_rate(0.5)
    guarded.control.set_steps(3)
    assert guarded.control.load(0) >= 0
    assert guarded.control.state().steps == 3
    guarded.control.set_steps(0)


def test_no_key_shows_in_answers_logs_or_process_lists(guarded):
    answers = [call(guarded, "GET", path, ADMIN_KEY).text for path in ("/server_info", "/get_server_info", "/metrics/")]
    assert json.loads(answers[0])["internal_states"][0]["aurora"]["steps"] == 0
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    texts = [*answers, guarded.process.log.read_text(), *(line.decode(errors="replace") for line in lines)]
    assert any("server_args" in text for text in texts)
    for key in (ADMIN_KEY, API_KEY):
        assert not any(key in text for text in texts)
