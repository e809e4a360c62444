"""What is nested too deep is cut, and no reader of JSON in the process fails of it."""

import copy
import json
import time

import pytest
from aurora_operator.clients.nesting import DEEPEST, cut, guard, is_deep
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def guarded(monkeypatch):
    monkeypatch.setattr(json, "_default_decoder", json._default_decoder)
    guard()


def nested(levels, inner="1"):
    return '{"a":[' * (levels // 2) + inner + "]}" * (levels // 2)


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("levels", [DEEPEST + 2, 1200, 9000, 100_000])
def test_a_watch_event_that_is_deep_is_read(levels):
    event = json.loads(
        f'{{"type":"ADDED","object":{{"spec":{nested(levels)},"metadata":{{"name":"chat","managedFields":{nested(levels)}}}}}}}'
    )
    assert event["object"]["metadata"]["name"] == "chat"
    copy.deepcopy(event)


@pytest.mark.usefixtures("guarded")
def test_what_is_not_deep_is_read_as_ever():
    text = nested(DEEPEST, '"}}}]]]{{{\\""')
    assert not is_deep(text)
    inner = json.loads(text)
    for _ in range(DEEPEST // 2):
        inner = inner["a"][0]
    assert inner == '}}}]]]{{{"'


@given(JSON, JSON)
def test_only_what_is_below_is_cut(shallow, deep):
    text = json.dumps([shallow, *[deep] * 300])
    assert not is_deep(text)
    kept = json.loads(cut(f'{{"kept":{text},"deep":{nested(2 * DEEPEST, text)},"last":{text}}}'))
    assert kept["kept"] == kept["last"] == [shallow, *[deep] * 300]


def test_a_text_that_is_broken_costs_no_time():
    started = time.process_time()
    for text in ('"' + "\\" * 1_000_001, "{" * 1_000_000, '{"a":' * 200_000 + '"', "[}" * 500_000):
        is_deep(text)
        cut(text)
    assert time.process_time() - started < 5
