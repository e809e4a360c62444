"""A request's stratum: by what its headers show, whatever else a client sends, and one of a bounded number."""

import asyncio
import hashlib

import pytest
from aurora_core.agent.metrics import EngineCollector
from aurora_core.config.strata import StrataConfig
from aurora_core.engine.counters import Arm, CycleCounters
from aurora_core.engine.strata import StrataMiddleware, by_headers, routing_key, stratum_of
from aurora_core.protocol.agent import Volume
from aurora_core.protocol.engine import EngineState
from hypothesis import given
from hypothesis import strategies as st

SALT = "12345678"


def strata(by="Header", header="x-team", values=("law-1", "law-2"), **more):
    return StrataConfig(by=by, header=header, named=({"name": "law", "values": values},), **more)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"x-team", b"law-2")], "law"),
        ([(b"x-team", b" law-1 ")], "law"),
        ([(b"x-team", b"law-3")], "other"),
        ([(b"x-teams", b"law-1")], "other"),
        ([(b"x-team", b"law-1"), (b"x-team", b"law-1")], "other"),
        ([(b"x-team", bytes(range(128, 256)))], "other"),
        ([], "other"),
    ],
)
def test_a_header_shows_it(headers, expected):
    assert by_headers(strata(), headers) == expected


def test_a_key_is_compared_by_its_salted_hash_alone():
    hashed = hashlib.sha256(f"{SALT}sk-1".encode()).hexdigest()
    by_key = strata("HeaderHash", "authorization", (hashed,), salt=SALT)
    assert by_headers(by_key, [(b"authorization", b"Bearer sk-1")]) == "law"
    assert by_headers(by_key, [(b"authorization", b"Basic sk-1")]) == "other"
    assert by_headers(by_key, [(b"authorization", f"Bearer {hashed}".encode())]) == "other"
    own = strata("HeaderHash", "x-api-key", (hashed,), salt=SALT)
    assert by_headers(own, [(b"x-api-key", b"sk-1")]) == "law"


def test_an_adapter_shows_it():
    by_adapter = strata("Adapter", None, ("sql",))
    assert stratum_of(by_adapter, routing_key(by_adapter, "sql", None)) == "law"
    for adapter in (None, "", "other", ["sql", "sql"]):
        assert stratum_of(by_adapter, routing_key(by_adapter, adapter, None)) == "other"


@given(st.none() | st.text() | st.just("aurora/law/"))
def test_no_routing_key_of_a_client_chooses_it_and_each_is_kept(own):
    key = routing_key(strata(), None, own)
    assert stratum_of(strata(), key) == "other"
    assert key.endswith(own or "")


@given(st.none() | st.text())
def test_whatever_a_scheduler_gets_it_is_one_of_those_that_there_are(key):
    assert stratum_of(strata(), key) in strata().names


def test_each_request_has_its_own_while_both_are_served():
    seen = {}

    async def app(scope, _receive, _send):
        await asyncio.sleep(0)
        seen[scope["path"]] = stratum_of(strata(), routing_key(strata(), None, None))

    async def both():
        served = StrataMiddleware(app, strata())
        scopes = [{"type": "http", "path": team, "headers": [(b"x-team", team.encode())]} for team in ("law-1", "none")]
        await asyncio.gather(*(served(scope, None, None) for scope in scopes))

    asyncio.run(both())
    assert seen == {"law-1": "law", "none": "other"}


def test_cycles_count_in_their_stratum_and_in_the_arm_and_are_exported():
    counters = CycleCounters(1, strata().names)
    for now, request, tokens in ((1.0, "a", 3), (1.5, "a", 2), (1.5, "b", 4)):
        counters.cycle(request, Arm(1, 3), tokens, now, None, "law" if request == "a" else "other")
    reported = counters.arms[Arm(1, 3)].reported(Arm(1, 3))
    assert reported.accept_tokens == 9
    assert {name: one.plain() for name, one in reported.strata.items()} == {
        "law": {"accept_tokens": 5, "accept_cycles": 2, "decode_tokens": 2, "decode_seconds": 0.5},
        "other": {"accept_tokens": 4, "accept_cycles": 1, "decode_tokens": 0, "decode_seconds": 0},
    }
    state = EngineState.read({"draft": {"live": 1}, "steps": 3, "capture": {"rate": 1}, "arms": [reported.plain()]})
    collector = EngineCollector(lambda: state, lambda: Volume(free=1, total=1), {"engine": "p"})
    samples = [sample for family in collector.collect() for sample in family.samples]
    found = {s.labels["stratum"]: s.value for s in samples if s.name == "aurora_stratum_accept_tokens_total"}
    assert found == {"law": 5, "other": 4}
    assert [s.value for s in samples if s.name == "aurora_accept_tokens_total"] == [9]
