"""Anonymous scrapes: they share what was read of the engine, and take nothing from the operator's calls."""

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest
from aurora_core.agent.app import make
from aurora_core.agent.engine import Engine
from aurora_core.agent.recent import Recent
from aurora_core.agent.signatures import sign
from aurora_core.errors import EngineError
from aurora_core.protocol.engine import CaptureState, DraftState, EngineState
from aurora_core.weights.store import WeightsStore

STATE = EngineState(draft=DraftState(live=1), steps=3, capture=CaptureState(rate=1))


class Reads:
    """An engine that answers once it is let, and counts how often it was read."""

    def __init__(self, problem=None):
        self.count = 0
        self.answer = threading.Event()
        self._problem = problem

    def __call__(self):
        self.count += 1
        assert self.answer.wait(30)
        if self._problem:
            raise EngineError(self._problem)
        return STATE


def test_callers_at_the_same_time_share_one_read():
    reads = Reads()
    recent = Recent(reads, max_age=60)
    with ThreadPoolExecutor(45) as callers:
        found = [callers.submit(recent.get) for _ in range(45)]
        reads.answer.set()
        assert [one.result(30) for one in found] == [STATE] * 45
    assert reads.count == 1


def test_an_answer_is_read_again_once_it_is_old():
    reads = Reads()
    reads.answer.set()
    recent = Recent(reads, max_age=0)
    assert [recent.get(), recent.get()] == [STATE, STATE]
    assert reads.count == 2


def test_a_failure_is_shared_like_an_answer():
    reads = Reads("the engine is down")
    reads.answer.set()
    recent = Recent(reads, max_age=60)
    for _ in range(3):
        with pytest.raises(EngineError, match="the engine is down"):
            recent.get()
    assert reads.count == 1


def test_nobody_waits_for_a_read_that_hangs_longer_than_the_first_did():
    reads = Reads()
    recent = Recent(reads, patience=0.2)
    try:
        for _ in range(45):
            with pytest.raises(EngineError, match=r"for 0\.2 s"):
                recent.get()
        assert reads.count == 1
    finally:
        reads.answer.set()


def test_the_operator_is_served_while_45_scrapes_wait_for_a_hung_engine(tmp_path):
    token = "agent-token"  # noqa: S105 (of this test)

    async def versions(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://agent") as client:
            scrapes = [asyncio.create_task(client.get("/metrics")) for _ in range(45)]
            await asyncio.to_thread(accepted.wait, 30)
            header = sign(token, "", "GET", "/v1/versions", b"").header()
            request = client.get("/v1/versions", headers={"Authorization": header})
            answer = await asyncio.wait_for(request, timeout=5)
            waiting = sum(not scrape.done() for scrape in scrapes)
            for scrape in scrapes:
                scrape.cancel()
            await asyncio.gather(*scrapes, return_exceptions=True)
            return answer.status_code, waiting

    accepted = threading.Event()
    with socket.socket() as hung:
        hung.bind(("127.0.0.1", 0))
        hung.listen(128)

        def accept():
            # It takes connections, and never answers.
            taken = []
            try:
                while True:
                    taken.append(hung.accept()[0])
                    accepted.set()
            except OSError:
                for one in taken:
                    one.close()

        threading.Thread(target=accept, daemon=True).start()
        with closing(Engine(f"http://127.0.0.1:{hung.getsockname()[1]}", "admin")) as engine:
            try:
                assert asyncio.run(versions(make(WeightsStore(tmp_path), engine, token))) == (200, 45)
            finally:
                hung.shutdown(socket.SHUT_RDWR)
