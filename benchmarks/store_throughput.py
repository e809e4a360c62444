"""Throughput of samples through a Mooncake store at both ends: what an engine puts and what a trainer gets.

A real ``mooncake_master`` with its metadata server, and the transport of the product (``samples/mooncake.py``), by TCP
on loopback, where nothing but this machine's CPU and memory is measured: no network. Each payload is stored, announced
to the trainer's endpoint, fetched, compared and removed, one after the other, as an engine's sender and a trainer do.
Beside it the same payloads through the spool, which is files in a folder of this machine.

``python benchmarks/store_throughput.py [--megabytes 4 16] [--count 20]`` prints a JSON line a size and transport.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import httpx
from aurora_core.config import SamplesConfig
from aurora_core.samples.mooncake import MooncakeSink, MooncakeSource
from aurora_core.samples.spool import SpoolSink, SpoolSource
from aurora_core.samples.transport import SampleSink, SampleSource
from aurora_core.waiting import wait
from aurora_demo import store
from ports import free_port

_START_SECONDS = 60
Ends = tuple[SampleSink, SampleSource]


def _answers(url: str) -> bool:
    try:
        httpx.get(url, timeout=1)
    except httpx.HTTPError:
        return False
    return True


@contextmanager
def mooncake(folder: Path, largest: int) -> Iterator[Ends]:
    """Both ends of a store of this machine's own.

    Args:
        folder: for its log.
        largest: bytes of a sample.
    """
    settings = SamplesConfig(
        transport="Mooncake",
        mooncake_master=f"127.0.0.1:{free_port()}",
        mooncake_metadata=f"http://127.0.0.1:{free_port()}/metadata",
        mooncake_segment_bytes=8 * largest,
        mooncake_buffer_bytes=4 * largest,
        trainer_url=f"http://127.0.0.1:{free_port()}",
    )
    master = store.start(settings, folder / "master.log")
    source, sink = MooncakeSource(settings, "token"), MooncakeSink(settings, "token")
    source.start()
    wait("the receiver of samples", lambda: _answers(settings.trainer_url), _START_SECONDS, every=0.05)
    try:
        yield sink, source
    finally:
        sink.close()
        source.close()
        master.kill()


@contextmanager
def spool(folder: Path, largest: int) -> Iterator[Ends]:
    """Both ends of a spool; arguments as of :func:`mooncake`."""
    yield SpoolSink(folder / "spool", 8 * largest), SpoolSource(folder / "spool")


def measured(ends: Ends, size: int, count: int) -> dict[str, float]:
    """MB/s of each end, over so many samples of a size in bytes; the first one, which connects, is left out."""
    sink, source = ends
    payload = os.urandom(size)
    put, got = [], []
    for at in range(count + 1):
        started = time.perf_counter()
        sink.put(f"s{size}-{at}", payload)
        stored = time.perf_counter()
        (delivery,) = source.poll()
        back = delivery.read()
        fetched = time.perf_counter()
        if back != payload:
            message = f"sample {at} of {size} bytes came back otherwise"
            raise SystemExit(message)
        delivery.done()
        put.append(stored - started)
        got.append(fetched - stored)
    seconds = {"put": put[1:], "get": got[1:]}
    return {
        **{f"{end}_mb_per_second": round(size * count / 1e6 / sum(taken), 1) for end, taken in seconds.items()},
        **{f"{end}_median_ms": round(1e3 * statistics.median(taken), 2) for end, taken in seconds.items()},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[1, 4, 16], help="of a sample")
    parser.add_argument("--count", type=int, default=20, help="samples of each size")
    arguments = parser.parse_args()
    sizes = [one << 20 for one in arguments.megabytes]
    about = {
        "benchmark": "store_throughput", "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores", "load": round(os.getloadavg()[0], 1),
        "mooncake": version("mooncake-transfer-engine-non-cuda"), "python": platform.python_version(),
    }  # fmt: skip
    print(json.dumps(about), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name, transport in (("mooncake", mooncake), ("spool", spool)):
            with transport(Path(scratch), max(sizes)) as ends:
                for size in sizes:
                    line = {"transport": name, "bytes": size, "samples": arguments.count}
                    print(json.dumps(line | measured(ends, size, arguments.count)), flush=True)


if __name__ == "__main__":
    main()
