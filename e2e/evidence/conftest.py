"""Counters and servers that stop with their test."""

import pytest
from evidence_support import Exporter, Server


@pytest.fixture
def exporter():
    made = Exporter.start()
    yield made
    made.stop()


@pytest.fixture
def serve(tmp_path):
    started = []

    def serve_(targets, **options):
        started.append(Server.start(tmp_path, targets, **options))
        return started[-1]

    yield serve_
    for server in started:
        server.stop()
