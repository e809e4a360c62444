"""Takes captured requests off the engine's thread: encodes and sends them in the background.

The queue is bounded and never waited on: what does not fit is dropped and counted. What becomes of samples sets the
pace of capture.
"""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import torch

from aurora_core.engine.pace import PAUSED, Pace
from aurora_core.errors import AuroraError, TransportError
from aurora_core.samples.schema import Sample, encode
from aurora_core.samples.transport import SampleSink

log = logging.getLogger(__name__)

_UPKEEP_SECONDS = 60.0


class Sender:
    """A thread between the engine and a sink.

    Attributes:
        sent: samples and bytes that the sink took.
        dropped: samples lost, by reason.
        pace: what may be captured now.
    """

    def __init__(
        self,
        make_sink: Callable[[], SampleSink],
        dtype: torch.dtype | None,
        queue_size: int,
        upkeep: Callable[[], None] = lambda: None,
        pace: Pace | None = None,
    ) -> None:
        """Nothing is sent before :meth:`start`.

        Args:
            make_sink: makes the sink, in the thread.
            dtype: of the states that are sent; None for the engine's own.
            queue_size: samples that may wait.
            upkeep: called in the thread about once a minute, with traffic and without.
            pace: by default one of its own.
        """
        self._make_sink = make_sink
        self._upkeep = upkeep
        self._kept_up = time.monotonic()
        self._dtype = dtype
        self.pace = pace or Pace()
        self._queue: queue.Queue[Sample | None] = queue.Queue(queue_size)
        self._thread = threading.Thread(target=self._run, name="aurora-sender", daemon=True)
        self.sent: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def has_room(self) -> bool:
        """Whether :meth:`offer` would take a sample now."""
        return not self._queue.full()

    def drop(self, reason: str, why: str = "") -> None:
        """Count a request that will not become a sample."""
        self.dropped[reason] += 1
        self.pace.refused(reason, why)

    def offer(self, sample: Sample) -> None:
        """Queue a sample, or drop it where the queue is full; never waits."""
        try:
            self._queue.put_nowait(sample)
        except queue.Full:
            self.drop("queue_full")

    def backlog(self) -> int:
        """Samples in the queue."""
        return self._queue.qsize()

    def close(self) -> None:
        """Send what is queued and end the thread, which must have been started."""
        self._queue.put(None)
        self._thread.join()

    def _keep_up(self) -> None:
        if time.monotonic() - self._kept_up < _UPKEEP_SECONDS:
            return
        self._kept_up = time.monotonic()
        try:
            self._upkeep()
        except OSError as error:
            self.drop("upkeep_error")
            log.warning("samples that are too old could not be deleted: %s", error)

    def _run(self) -> None:
        sink: SampleSink | None = None
        while True:
            self._keep_up()
            try:
                sample = self._queue.get(timeout=_UPKEEP_SECONDS)
            except queue.Empty:
                continue
            if sample is None:
                break
            if self.pace.paused:
                self.drop(PAUSED)
                continue
            try:
                sink = sink or self._make_sink()
                payload = encode(_as(sample, self._dtype))
                sink.put(_file_name(sample.request), payload)
            except TransportError as error:
                self.drop(error.reason, str(error))
                log.warning("sample %s dropped: %s", sample.request, error)
            except (AuroraError, RuntimeError, ValueError) as error:
                self.drop("send_error")
                log.exception("sample %s dropped: %s", sample.request, error)  # noqa: TRY401 (one line is enough)
            else:
                self.pace.taken()
                self.sent["samples"] += 1
                self.sent["bytes"] += len(payload)
        if sink is not None:
            sink.close()


def _as(sample: Sample, dtype: torch.dtype | None) -> Sample:
    if dtype is None or sample.aux.dtype == dtype:
        return sample
    return replace(sample, aux=sample.aux.to(dtype), last=sample.last.to(dtype))


def _file_name(request: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in request)[:64]
