"""Dashboards as pictures: what is asked of Prometheus, how numbers are written, and that panels are where they fit."""

import json
import math
from datetime import UTC, datetime, timedelta
from itertools import combinations
from urllib.parse import parse_qs, urlsplit

import pytest
from monitoring.asked import Span, ask
from monitoring.numbers import mapped, shown
from monitoring.picture import BOARDS, draw, draw_all

START = datetime(2026, 11, 1, tzinfo=UTC)
SPAN = Span(START, START + timedelta(minutes=10))
LABELS = {
    "speculator": "ns/chat", "version": "3", "steps": "3", "bound": "lower", "reason": "Promoted", "engine": "chat-1",
}  # fmt: skip


class Answers:
    """What a Prometheus would say: a series of two stretches for each range, a number for each instant."""

    def __init__(self, *names):
        self.names, self.asked = list(names), []

    def __call__(self, below):
        url = urlsplit(below)
        asked = {key: value for key, (value,) in parse_qs(url.query).items()}
        self.asked.append(asked)
        if url.path.endswith("/values"):
            return json.dumps({"status": "success", "data": self.names})
        if url.path.endswith("query"):
            result = [{"metric": LABELS, "value": [float(asked["time"]), "1"]}]
        else:
            start, step = float(asked["start"]), float(asked["step"])
            result = [{"metric": LABELS, "values": [[start + step * i, str(i)] for i in (0, 1, 5, 6)]}]
        return json.dumps({"status": "success", "data": {"result": result}})


def board(name="deployment"):
    return json.loads((BOARDS / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.0123, "s", "12.3 ms"), (0.0, "s", "0 s"), (7200, "s", "2 h"), (2e-6, "s", "2 µs"), (0.5, "percentunit", "50%"),
     (2048, "Bps", "2.05 kB/s"), (0, "Bps", "0 B/s"), (12000, "short", "12 K"), (3, "short", "3"), (-0.0, "none", "0"),
     (1.25, "suffix: tok/s", "1.25 tok/s"), (4, "reqps", "4 req/s"), (1234.0, "none", "1234"),
     (0.00123, "none", "0.00123"),
     (math.nan, "s", "no data")],
)  # fmt: skip
def test_numbers_have_their_units(value, unit, text):
    assert shown(value, unit) == text


def test_a_value_is_shown_as_its_mapping_and_coloured_by_its_threshold():
    mappings = [{"options": {"-1": {"text": "none", "color": "text"}}}]
    steps = [{"value": None, "color": "green"}, {"value": 1, "color": "red"}]
    assert mapped(-1, "short", mappings, steps) == ("none", "text")
    assert [mapped(value, "short", mappings, steps) for value in (0, 2)] == [("0", "green"), ("2", "red")]


def test_queries_are_asked_as_grafana_asks_them():
    read = Answers()
    asked = ask(board(), read, SPAN, ["ns/chat"])
    queries = [one["query"] for one in read.asked]
    assert not [query for query in queries if "$" in query]
    assert any('speculator="ns/chat"' in query and "[60s]" in query for query in queries)
    assert all(float(one["time"]) == SPAN.end.timestamp() for one in read.asked if "time" in one)
    assert SPAN.step(1) == 15
    assert (Span(START, START + timedelta(days=1), 15, 1440).step(0.5), SPAN._replace(scrape=3).rate_interval(1)) == (
        120,
        12,
    )
    assert asked.marks == [(START, "Promoted"), (START + timedelta(seconds=75), "Promoted")]
    with pytest.raises(ValueError, match=r"refused .* parse error"):
        ask(board(), lambda _: '{"status": "error", "error": "parse error"}', SPAN, ["ns/chat"])


def test_where_a_series_has_no_value_its_course_has_a_gap():
    course = next(one.courses[0] for one in ask(board(), Answers(), SPAN, ["ns/chat"]).panels if one.courses)
    assert len(course.times) == len(course.values) == 41
    assert [value for value in course.values if not math.isnan(value)] == [0, 1, 5, 6]
    assert course.times[5] - course.times[0] == timedelta(seconds=75)


def test_the_fleet_is_every_deployment_and_names_are_no_regular_expressions():
    read = Answers()
    asked = ask(board("fleet"), read, SPAN, ["a/b.c", "d/e"])
    assert asked.chosen == ["a/b.c", "d/e"]
    assert any('speculator=~"(a/b\\\\.c|d/e)"' in one["query"] for one in read.asked)


@pytest.mark.parametrize("name", ["deployment", "fleet", "training"])
def test_panels_fit_into_their_rows_and_lie_on_no_other(name):
    positions = {panel["title"]: panel["gridPos"] for panel in board(name)["panels"]}
    assert [title for title, at in positions.items() if at["x"] + at["w"] > 24] == []
    cells = {
        title: {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        for title, at in positions.items()
    }
    assert [pair for pair in combinations(cells, 2) if cells[pair[0]] & cells[pair[1]]] == []


def test_each_dashboard_is_drawn(tmp_path):
    written = draw_all(tmp_path, Answers("ns/chat"), SPAN)
    assert [path.name for path in written] == [f"dashboard_{name}.png" for name in ("deployment", "fleet", "training")]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20_000 for path in written)


def test_a_dashboard_without_data_is_drawn_too(tmp_path):
    file = tmp_path / "fleet.png"
    draw(file, ask(board("fleet"), lambda _: '{"status": "success", "data": {"result": []}}', SPAN, []))
    assert file.stat().st_size > 20_000
