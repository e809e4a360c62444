"""The chart's Mooncake works as it is rendered: its commands run here, at other ports and at the loopback alone."""

import os
import subprocess

import httpx
import pytest
import yaml
from aurora_core.config import SamplesConfig
from aurora_core.errors import TransportError
from aurora_core.samples.mooncake import MooncakeSink, MooncakeSource
from chart_support import Strict, rendered
from machine import patience
from ports import free_port
from workshop.waiting import wait

pytestmark = pytest.mark.filterwarnings("ignore")


def bodies(*values):
    text = rendered(*(part for value in ("mooncake.enabled=true", *values) for part in ("--set", value)))
    return [body for body in yaml.load_all(text, Strict) if body and "mooncake" in body["metadata"]["name"]]


def container(body):
    (one,) = body["spec"]["template"]["spec"]["containers"]
    return one


@pytest.fixture
def ports():
    return {name: free_port() for name in ("master", "metadata", "metrics", "store", "trainer")}


@pytest.fixture
def component(ports, tmp_path):
    """What the chart renders, as processes of this machine."""
    made = {
        body["kind"]: container(body)
        for body in bodies(f"mooncake.master.port={ports['master']}", "mooncake.stores.segmentBytes=67108864",
                           f"mooncake.master.metadataPort={ports['metadata']}")
        if body["kind"] in {"Deployment", "StatefulSet"}
    }  # fmt: skip
    here = {
        "--metrics_port=9003": f"--metrics_port={ports['metrics']}",
        "--port=50052": f"--port={ports['store']}",
        "--host=$(POD_IP)": "--host=127.0.0.1",
    }
    started = []
    for kind, of in (("Deployment", "master"), ("StatefulSet", "store")):
        command = [
            here.get(part, part).replace("=0.0.0.0", "=127.0.0.1").replace("aurora-mooncake:", "127.0.0.1:")
            for part in made[kind]["command"]
        ]
        with (tmp_path / f"{of}.log").open("w") as log:
            started.append(subprocess.Popen(command, env=os.environ, stdout=log, stderr=subprocess.STDOUT))
        if of == "master":
            _until(lambda: httpx.get(f"http://127.0.0.1:{ports['metrics']}/metrics").raise_for_status())
    yield
    for one in started:
        one.kill()
        one.wait()


def _until(done):
    failed = []

    def is_done():
        try:
            done()
        except (httpx.HTTPError, TransportError) as error:
            failed[:] = [error]
            return False
        return True

    wait("the store", is_done, patience(60), state=lambda: failed)


@pytest.mark.usefixtures("component")
def test_a_sample_goes_through_its_stores_where_engines_give_no_memory(ports):
    settings = SamplesConfig(
        transport="Mooncake",
        mooncake_master=f"127.0.0.1:{ports['master']}",
        mooncake_metadata=f"http://127.0.0.1:{ports['metadata']}/metadata",
        mooncake_segment_bytes=0,
        mooncake_buffer_bytes=32 << 20,
        trainer_url=f"http://127.0.0.1:{ports['trainer']}",
    )
    source, sink = MooncakeSource(settings, "token"), MooncakeSink(settings, "token")
    source.start()
    try:
        _until(lambda: sink.put("a", b"bytes" * 1000))
        (delivery,) = source.poll()
        assert delivery.read() == b"bytes" * 1000
    finally:
        sink.close()
        source.close()
    metrics = httpx.get(f"http://127.0.0.1:{ports['metrics']}/metrics").text
    assert "master_put_end_requests_total" in metrics


def test_its_pods_are_restricted_and_have_the_memory_of_their_segment():
    (store,) = (
        container(body) for body in bodies("mooncake.stores.segmentBytes=8589934592") if body["kind"] == "StatefulSet"
    )
    assert store["resources"]["limits"]["memory"] == str(8589934592 + (512 << 20))
    assert "--global_segment_size=8589934592" in store["command"]
    for body in bodies():
        if body["kind"] not in {"Deployment", "StatefulSet"}:
            continue
        pod = body["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        context = container(body)["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_engines_and_trainers_reach_it_and_nobody_else_does():
    (policy,) = (body for body in bodies() if body["kind"] == "NetworkPolicy")
    peers = [rule["from"] for rule in policy["spec"]["ingress"]]
    assert [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "aurora"}}}] in peers
    assert all(peers), "an empty list would be everybody"
    assert not [body for body in bodies("networkPolicy.enabled=false") if body["kind"] == "NetworkPolicy"]
