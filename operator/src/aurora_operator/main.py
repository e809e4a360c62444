"""Entry point of the operator."""

import http.server
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import kopf

from aurora_core import listening
from aurora_operator import handlers
from aurora_operator.api import GROUP, KIND, VERSION
from aurora_operator.clients import nesting
from aurora_operator.clients.cluster import Cluster
from aurora_operator.clients.connection import connect
from aurora_operator.clients.lease import Election
from aurora_operator.errors import OperatorError
from aurora_operator.settings import Settings

log = logging.getLogger(__name__)

_LEASE_TIMEOUT = 4.0
"""Of a request for the Lease; to read it and to renew it must fit into the time that it may go without."""
_POLL_SECONDS = 2.0


class _Alive(http.server.BaseHTTPRequestHandler):
    """What the liveness probe of a process that stands by reads."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


class _Standby(http.server.ThreadingHTTPServer):
    """Answers at all addresses of the machine."""

    def __init__(self, port: int) -> None:
        address = listening.wildcard()
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), _Alive)


@contextmanager
def _standing_by(port: int) -> Iterator[None]:
    """Answer liveness probes meanwhile; kopf answers them as soon as it runs."""
    try:
        server = _Standby(port)
    except OSError as error:
        sys.exit(f"aurora-operator: port {port}: {error.strerror}")
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def _await_kind(cluster: Cluster) -> None:
    """Wait for the CustomResourceDefinition: kopf does not notice one that comes later where it may not list them."""
    logged = False
    while True:
        try:
            if cluster.serves(f"{GROUP}/{VERSION}", KIND):
                return
        except OperatorError as error:
            log.warning("%s", error)
        if not logged:
            log.warning("the API server has no %s: waiting for the CustomResourceDefinition", KIND)
            logged = True
        time.sleep(_POLL_SECONDS)


def main() -> None:
    """Run until reported to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    nesting.guard()
    election = None
    try:
        settings = Settings.from_environment()
        with _standing_by(settings.health_port):
            cluster = Cluster(connect())
            _await_kind(cluster)
            if settings.lease:
                election = Election(Cluster(connect(), _LEASE_TIMEOUT), settings.lease_namespace, settings.lease)
                election.acquire()
                election.keep()
    except OperatorError as error:
        sys.exit(f"aurora-operator: {error}")
    log.info("watching %s", ", ".join(settings.watch_namespaces) or "all namespaces")
    finished: list[bool] = []
    kopf.run(
        registry=kopf.get_default_registry(),
        standalone=True,
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
        liveness_endpoint=settings.liveness_endpoint,
        memo=kopf.Memo(finished=finished),
    )
    if election is not None and finished:
        # Where a reconcile still runs, the Lease ends by itself, after it.
        election.release()


assert handlers  # noqa: S101 (imported for its registrations)
