"""Real servers on this machine, and engines' counters to scrape, which restart, vanish and lie."""

import os
import subprocess
import time
from pathlib import Path

from aurora_operator.clients.prometheus import Credentials, Prometheus
from aurora_operator.promotion.counters import NAMES
from host import build
from ports import free_port
from prometheus_client import CollectorRegistry, Counter, start_http_server
from workshop.build import PROMETHEUS, VICTORIA
from workshop.waiting import wait

ROOT = Path(__file__).parents[1]
LABELS = {"speculator": "ns/chat", "version": "3", "steps": "3"}
NEW, OLD = "3", "2"


class Exporter:
    """What an agent exports of one engine: the counters of each version."""

    def __init__(self, engine, port):
        self.engine, self.port = engine, port
        self.server = None

    @classmethod
    def start(cls, engine="chat-engine-1"):
        """Begin to export."""
        made = cls(engine, free_port())
        made.restart()
        return made

    def restart(self):
        """A new process would begin at zero."""
        self.stop()
        registry = CollectorRegistry()
        names = [*LABELS, "engine"]
        self._counters = [Counter(name.removesuffix("_total"), "counter", names, registry=registry) for name in NAMES]
        self.finish(0, 0, requests=0)
        self.server, self._thread = start_http_server(self.port, "127.0.0.1", registry=registry)

    def stop(self):
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self._thread.join()
            self.server = None

    def finish(self, tokens, cycles, version=NEW, requests=1):
        """A request ends."""
        for counter, value in zip(
            self._counters, (requests, 0, 0, tokens, cycles, tokens, cycles, requests, requests), strict=True
        ):
            counter.labels(**LABELS | {"version": version, "engine": self.engine}).inc(value)


def prometheus(folder, config, port, web):
    binary = Path(build("Prometheus", 90, PROMETHEUS)) / "prometheus"
    address = f"--web.listen-address=127.0.0.1:{port}"
    command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder}/data", address]
    return command if web is None else [*command, f"--web.config.file={web}"], "ready to receive web requests"


def victoria(folder, config, port, web):
    """Another implementation of the same API."""
    assert web is None
    binary = Path(build("VictoriaMetrics", 30, VICTORIA)) / "victoria-metrics"
    address = f"-httpListenAddr=127.0.0.1:{port}"
    # What was scraped can be asked for at once, and not half a minute later.
    fresh = ("-search.latencyOffset=1ms", "-inmemoryDataFlushInterval=1s")
    command = [binary, f"-promscrape.config={config}", f"-storageDataPath={folder}/data", address, *fresh]
    return command, "started VictoriaMetrics"


class Server:
    """The process of a server."""

    def __init__(self, url, process):
        self.url, self.process = url, process
        self._clients = []

    @classmethod
    def start(
        cls, folder, targets, *, kind=prometheus, jobs=1, web=None, scheme="http", labels="namespace: ns", relabel="[]"
    ):
        """Start one; ``jobs`` scrape the same targets, with ``labels`` and what ``relabel`` changes."""
        port = free_port()
        scrapes = "\n".join(
            f"  - {{job_name: job{i}, static_configs: [{{targets: [{', '.join(f'127.0.0.1:{t}' for t in targets)}], "
            f"labels: {{{labels}}}}}], metric_relabel_configs: {relabel}}}"
            for i in range(jobs)
        )
        config = folder / "scrapes.yml"
        config.write_text(f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{scrapes}\n")
        if web is not None:
            (folder / "web.yml").write_text(web)
        command, ready = kind(folder, config, port, None if web is None else folder / "web.yml")
        log = folder / "server.log"
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file)
        made = cls(f"{scheme}://127.0.0.1:{port}", process)
        wait(ready, lambda: ready in log.read_text(), 20, every=0.1, state=log.read_text)
        # Scraping begins seconds after that; whoever may not ask does not wait for it.
        desired = len(targets) * jobs
        if web is None:
            wait("scrapes", lambda: made.client().number("count(up)", time.time()) == desired, 20)
        return made

    def client(self, credentials=None):
        self._clients.append(Prometheus(self.url, credentials or Credentials()))
        return self._clients[-1]

    def signal(self, number):
        os.kill(self.process.pid, number)

    def stop(self):
        for client in self._clients:
            client.close()
        self.process.kill()
        self.process.wait()
