"""What the agent passes on of SGLang's own metrics, and what an engine cannot make of it."""

import pytest
from aurora_core.agent.serving import ServingCollector
from aurora_core.errors import EngineError
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

LABELS = {"speculator": "ns/chat", "engine": "chat-engine-1"}
TEXT = """# HELP sglang:num_running_reqs The number of running requests.
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{engine_type="unified",model_name="m",tp_rank="0"} 3.0
# HELP sglang:num_aborted_requests_total Number of requests aborted.
# TYPE sglang:num_aborted_requests_total counter
sglang:num_aborted_requests_total{model_name="m"} 2.0
# HELP sglang:time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE sglang:time_to_first_token_seconds histogram
sglang:time_to_first_token_seconds_sum{is_streaming="true"} 1.5
sglang:time_to_first_token_seconds_bucket{is_streaming="true",le="0.1"} 4.0
sglang:time_to_first_token_seconds_bucket{is_streaming="true",le="+Inf"} 5.0
sglang:time_to_first_token_seconds_count{is_streaming="true"} 5.0
# HELP sglang:secret_thing Not for everyone.
# TYPE sglang:secret_thing gauge
sglang:secret_thing 1.0
"""


def scraped(text, labels=LABELS):
    def read():
        if text is None:
            raise EngineError("it does not answer")
        return text

    registry = CollectorRegistry()
    registry.register(ServingCollector(read, labels))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return [(s.name, dict(s.labels), s.value) for family in families for s in family.samples]


def test_known_families_carry_the_labels_of_their_engine():
    found = scraped(TEXT)
    assert {name for name, _, _ in found} == {
        "sglang:num_running_reqs",
        "sglang:time_to_first_token_seconds_sum",
        "sglang:time_to_first_token_seconds_bucket",
        "sglang:time_to_first_token_seconds_count",
    }
    assert all(labels.items() >= LABELS.items() for _, labels, _ in found)
    assert (
        "sglang:num_running_reqs",
        LABELS | {"engine_type": "unified", "model_name": "m", "tp_rank": "0"},
        3,
    ) in found


@pytest.mark.parametrize("text", [None, "", "<html>", "sglang:num_running_reqs{ 1", "\x00", TEXT[:-40] + "{{{"])
def test_an_engine_without_an_answer_or_with_nonsense_has_none(text):
    assert scraped(text) == []


def test_an_engine_cannot_pass_for_another_one_or_fill_prometheus():
    forged = TEXT.replace('model_name="m"', 'engine="other",speculator="ns/other"')
    assert all(labels.items() >= LABELS.items() for _, labels, _ in scraped(forged))
    many = "# TYPE sglang:num_running_reqs gauge\n" + "".join(
        f'sglang:num_running_reqs{{a="{i}"}} 1\n' for i in range(9000)
    )
    assert len(scraped(many)) == 5000
