"""A Mooncake master of our own, where samples travel through its store."""

import os
import shutil
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

from aurora_core.child import Process
from aurora_core.config.parts import SamplesConfig
from aurora_core.errors import EngineError
from aurora_core.waiting import wait

_START_SECONDS = 60


def start(config: SamplesConfig, log: Path) -> Process:
    """Start it at the configured addresses, and wait until it listens.

    Raises:
        EngineError: it is not installed, it died, or was not up in time.
    """
    program = shutil.which("mooncake_master", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if program is None:
        message = "samples.transport Mooncake needs the package mooncake-transfer-engine: mooncake_master is missing"
        raise EngineError(message)
    master, metadata = urlsplit(f"//{config.mooncake_master}"), urlsplit(config.mooncake_metadata)
    arguments = [
        program, f"--rpc_address={master.hostname}", f"--rpc_port={master.port}",
        "--enable_http_metadata_server=true", "--metrics_host=127.0.0.1", "--metrics_port=0",
        f"--http_metadata_server_host={metadata.hostname}", f"--http_metadata_server_port={metadata.port}",
    ]  # fmt: skip
    process = Process.start("store", arguments, os.environ, log)
    try:
        for url in (master, metadata):
            _wait(process, (url.hostname or "127.0.0.1", url.port or 80))
    except EngineError:
        process.stop()
        raise
    return process


def _wait(process: Process, address: tuple[str, int]) -> None:
    def listens() -> bool:
        process.check()
        try:
            socket.create_connection(address, 1).close()
        except OSError:
            return False
        return True

    wait("a Mooncake master that listens", listens, _START_SECONDS, every=0.1, hint=f"see {process.log}")
