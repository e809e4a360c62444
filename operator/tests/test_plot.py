"""The picture of a trial: where Prometheus is asked, and that a picture comes of it."""

import json
import math
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from aurora_operator.api.promotion import PrometheusSpec
from aurora_operator.api.status import Entry, Status
from aurora_operator.cli import plot, prometheus
from operator_support import NOW, a_spec


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://prom.mon.svc:9090", "/api/v1/namespaces/mon/services/http:prom:9090/proxy"),
        ("https://prom.mon.svc.cluster.local/base/", "/api/v1/namespaces/mon/services/https:prom:443/proxy/base"),
        ("https://prometheus.example.org", None),
    ],
)
def test_a_service_is_asked_through_the_api_server(url, path):
    assert prometheus.proxy_path(url) == path


def test_gaps_part_trials_and_a_picture_is_written(tmp_path):
    times = [NOW + timedelta(seconds=15 * i) for i in range(9)]
    values = {"lower": 0.9, "estimate": 1.1, "upper": 1.3}
    gap = {3, 4}
    asked = []

    def read(path):
        asked.append(parse_qs(urlsplit(path).query))
        result = [
            {
                "metric": {"bound": bound},
                "values": [[t.timestamp(), "NaN" if i in gap else str(v)] for i, t in enumerate(times)],
            }
            for bound, v in values.items()
        ]
        return json.dumps({"data": {"result": result}})

    estimates = plot.courses(read, "q", NOW, NOW + timedelta(hours=1))
    assert asked[0]["query"] == ["q"]
    assert float(asked[0]["step"][0]) == pytest.approx(9)
    assert [math.isnan(v) for v in estimates[0].values] == [i in gap for i in range(9)]
    assert [len(points) for points in plot.trials({c.labels["bound"]: c for c in estimates})] == [3, 4]
    lengths = [plot.Course({"version": "4", "steps": "3"}, times, [2.0] * 9)]
    history = [Entry(time=times[5], version=4, verdict="Promoted", reason="")]
    plot.draw(tmp_path / "a.png", "ns/chat", a_spec(), Status(history=history), estimates, lengths)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("url", "more", "needs", "headers"),
    [
        ("http://p.mon.svc:9090", {}, "", {}),
        ("http://p.mon.svc", {"tenant": "a"}, "a tenant", {"X-Scope-OrgID": "a"}),
        ("https://p.example.org", {"tenant": "a"}, "", {"X-Scope-OrgID": "a"}),
        ("https://p.example.org", {"basicAuthSecret": "p"}, "credentials", {}),
        (
            "http://p.mon.svc",
            {"tenant": "a", "basicAuthSecret": "p"},
            "credentials and a tenant",
            {"X-Scope-OrgID": "a"},
        ),
    ],
)
def test_what_a_prometheus_needs_that_a_query_from_a_terminal_does_not_send(url, more, needs, headers):
    spec = PrometheusSpec.model_validate({"url": url, **more})
    assert (prometheus.needs(spec), prometheus.headers(spec)) == (needs, headers)
