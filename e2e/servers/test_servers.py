"""The gate's evidence through what stands before Prometheus or stores for it: Thanos, and Cortex with its tenants.

Not among the checks of `make test`: the first run builds both from their Go modules. ``pytest -s e2e/servers``, with
``-k thanos`` or ``-k cortex`` one of them.
"""

import math
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Candidate, Stable, Status
from aurora_operator.reconcile.evidence import measure
from aurora_operator.render.identity import Resource
from evidence_support import NEW, OLD, Exporter
from host import build
from ports import free_port
from program import Program
from workshop.build import PROMETHEUS
from workshop.waiting import wait

HERE = Path(__file__).parent
THANOS = ("github.com/thanos-io/thanos@v0.42.4", "./cmd/thanos", "netgo,slicelabels")
CORTEX = ("github.com/cortexproject/cortex@v1.21.1", "./cmd/cortex", "netgo,slicelabels")
"""With the tags of their releases: without ``slicelabels`` labels have another layout than their code counts on."""
TENANT = "team-a"
ENGINES = ("chat-engine-1", "chat-engine-2")
SLICE = 5
GUARD = 'sum(rate(aurora_accept_tokens_total{speculator="$speculator",version="$version"}[1m]))'


def recorded(server, folder, replica, targets, push):
    """A Prometheus of a pair, which writes to Cortex as well."""
    port = free_port()
    config = folder / f"{replica}.yaml"
    config.write_text(f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s, external_labels: {{cluster: here, replica: {replica}}}}}
scrape_configs:
  - {{job_name: pods, static_configs: [{{targets: [{", ".join(targets)}], labels: {{namespace: ns}}}}]}}
{push}
""")
    options = (f"--storage.tsdb.path={folder}/{replica}", f"--web.listen-address=127.0.0.1:{port}",
               "--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h")  # fmt: skip
    made = server(
        replica, Path(build("Prometheus", 90, PROMETHEUS)) / "prometheus", f"--config.file={config}", *options
    )
    made.ready(f"http://127.0.0.1:{port}/-/ready")
    return f"http://127.0.0.1:{port}"


def besides(server, program, name, url):
    """A sidecar of Thanos; returns its process and where it answers."""
    grpc, http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    options = (f"--prometheus.url={url}", f"--grpc-address={grpc}", f"--http-address={http}")
    made = server(name, program, "sidecar", *options)
    made.ready(f"http://{http}/-/ready")
    return made, grpc


def traffic(exporters, since):
    """Six slices of a trial, in blocks of two in which the engines take turns; the candidate is 1.2 times as good."""
    for number in range(6):
        canary = exporters[(number + number // 2) % 2]
        for tick in range(4):
            time.sleep(max(0.0, since.timestamp() + SLICE * number + 0.5 + tick - time.time()))
            for exporter in exporters:
                easy = 20 if exporter is exporters[0] else 10
                version = NEW if exporter is canary else OLD
                exporter.finish(easy * (1.2 if exporter is canary else 1), 10, version)
    time.sleep(max(0.0, since.timestamp() + SLICE * 6 - time.time()))


def found_at(url, since, **more):
    """What the operator finds there of the trial."""
    guards = [{"name": "rate", "query": GUARD, "max": 1e9}]
    spec = Spec.model_validate(
        {
            "mode": "ExternalWithoutDraft",
            "target": {"model": "org/model"},
            "serving": {"replicas": 2},
            "promotion": {"prometheus": {"url": url, **more}, "gate": {"sliceSeconds": SLICE}, "guards": guards},
        }
    )
    status = Status(
        stable=Stable(version=2, steps=3, since=since),
        candidate=Candidate(version=3, steps=3, since=since, metric="AcceptLength"),
    )
    return measure(None, Resource("chat", "ns", "u-1", spec), status, datetime.now(UTC), {}, set(ENGINES))


def proved(found):
    """Whether it is what was served."""
    evidence = found.evidence
    assert not evidence.problem, evidence.problem
    differences = [block.difference for block in evidence.trial.blocks]
    counts = (evidence.candidate_requests, evidence.stable_requests, evidence.trial.void)
    print(f"   requests and void blocks {counts}, blocks {[round(math.exp(one), 3) for one in differences]}")
    assert counts == (24, 24, 0)
    assert differences == [pytest.approx(math.log(1.2))] * 2
    assert [(guard.name, guard.breached) for guard in found.guards] == [("rate", False)]
    return True


@pytest.fixture
def server(tmp_path):
    started = []

    def start(name, *command):
        started.append(Program.start(tmp_path, name, *command))
        return started[-1]

    yield start
    for one in reversed(started):
        one.stop()


@pytest.fixture
def exporters():
    made = [Exporter.start(name) for name in ENGINES]
    for one in made:
        one.finish(2, 1, OLD)
    yield made
    for one in made:
        one.stop()


def until_scraped(url):
    """Wait until a server has something of what is scraped; of a server that is not there yet nothing is known."""

    def answer():
        return httpx.get(f"{url}/api/v1/query", params={"query": "up"}, headers={"X-Scope-OrgID": TENANT})

    def has_series():
        got = answer()
        return got.status_code == httpx.codes.OK and got.json()["data"]["result"]

    wait(f"series at {url}", has_series, 60, every=0.5, state=lambda: answer().text[:500])


def test_a_pair_of_prometheus_behind_thanos_gives_the_evidence_of_one(server, exporters, tmp_path):
    thanos = build(THANOS[0], 900, HERE / "build.sh", *THANOS)
    targets = [f"127.0.0.1:{one.port}" for one in exporters]
    pair = [recorded(server, tmp_path, replica, targets, "") for replica in ("a", "b")]
    sidecars = [besides(server, thanos, f"sidecar-{i}", url) for i, url in enumerate(pair)]
    query, grpc = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    endpoints = [f"--endpoint={address}" for _, address in sidecars]
    options = ("--query.replica-label=replica", f"--http-address={query}", f"--grpc-address={grpc}", *endpoints)
    server("query", thanos, "query", *options).ready(f"http://{query}/-/ready")
    until_scraped(f"http://{query}")
    since = datetime.now(UTC)
    traffic(exporters, since)
    time.sleep(8)

    for name, url in (("Prometheus", pair[0]), ("Thanos", f"http://{query}")):
        print(name)
        assert proved(found_at(url, since))
    print("Thanos with one sidecar of two")
    sidecars[0][0].stop()
    assert proved(found_at(f"http://{query}", since))
    print("Thanos with none")
    sidecars[1][0].stop()
    evidence = found_at(f"http://{query}", since).evidence
    print(f"   {evidence.problem!r}, {evidence.candidate_requests} requests")
    assert evidence.candidate_requests == 0
    assert not evidence.trial.blocks


def test_a_cortex_gives_the_evidence_to_its_tenant_alone(server, exporters, tmp_path):
    cortex = build(CORTEX[0], 900, HERE / "build.sh", *CORTEX)
    port = free_port()
    config = (HERE / "cortex.yaml").read_text().replace("PORT", str(port)).replace("GRPC", str(free_port()))
    (tmp_path / "cortex.yaml").write_text(config.replace("FOLDER", str(tmp_path / "cortex")))
    server("cortex", cortex, f"-config.file={tmp_path}/cortex.yaml").ready(f"http://127.0.0.1:{port}/ready", 90)
    push = (f"remote_write: [{{url: 'http://127.0.0.1:{port}/api/v1/push', headers: {{X-Scope-OrgID: {TENANT}}}, "
            "queue_config: {batch_send_deadline: 1s}}]")  # fmt: skip
    recorded(server, tmp_path, "a", [f"127.0.0.1:{one.port}" for one in exporters], push)
    url = f"http://127.0.0.1:{port}/prometheus"
    until_scraped(url)
    since = datetime.now(UTC)
    traffic(exporters, since)
    time.sleep(8)

    print("Cortex")
    assert proved(found_at(url, since, tenant=TENANT))
    for tenant, words in (({}, "needs promotion.prometheus.tenant"), ({"tenant": "team-b"}, "")):
        evidence = found_at(url, since, **tenant).evidence
        print(f"Cortex, {tenant or 'no tenant'}: {evidence.problem!r}, {evidence.candidate_requests} requests")
        assert words in evidence.problem
        assert evidence.candidate_requests == 0
    shutil.rmtree(tmp_path / "cortex", ignore_errors=True)
