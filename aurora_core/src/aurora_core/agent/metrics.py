"""The engine's measurements as Prometheus metrics."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aurora_core.errors import EngineError, WeightsError
from aurora_core.weights.volume import Volume

ACCEPT = {
    "n": ("aurora_accept_observations", "Finished requests, or their parts under one draft (n)"),
    "t": ("aurora_accept_tokens", "Tokens emitted in verify cycles (sum of T)"),
    "v": ("aurora_accept_cycles", "Verify cycles (sum of V)"),
    "tt": ("aurora_accept_tokens_squared", "Sum of T squared over observations"),
    "tv": ("aurora_accept_tokens_cycles", "Sum of T times V over observations"),
    "vv": ("aurora_accept_cycles_squared", "Sum of V squared over observations"),
}
DECODE = {
    "n": ("aurora_decode_observations", "Finished requests, or their parts under one draft, that were timed (n)"),
    "e": ("aurora_decode_tokens", "Tokens emitted after a request's first cycle (sum of E)"),
    "d": ("aurora_decode_seconds", "Seconds that those tokens took (sum of D)"),
    "ee": ("aurora_decode_tokens_squared", "Sum of E squared over observations"),
    "ed": ("aurora_decode_tokens_seconds", "Sum of E times D over observations"),
    "dd": ("aurora_decode_seconds_squared", "Sum of D squared over observations"),
}


class EngineCollector(Collector):
    """Asks engine and volume at every scrape.

    An engine that does not answer is ``aurora_engine_up`` 0, a volume that does not answer has no bytes. Every metric
    carries the labels that it is made with: which deployment and which engine this is.
    """

    def __init__(
        self, state: Callable[[], dict[str, Any]], volume: Callable[[], Volume], labels: Mapping[str, str]
    ) -> None:
        self._state = state
        self._volume = volume
        self._names = tuple(labels)
        self._values = tuple(labels.values())

    def describe(self) -> Iterator[Metric]:
        """Nothing is known before the engine is asked."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        try:
            free, total = self._volume()
        except WeightsError:
            free, total = 0, 0
        yield self._gauge(
            "aurora_volume_free_bytes", "Bytes that the volume has left, 0 where it does not answer", free
        )
        yield self._gauge("aurora_volume_bytes", "Bytes of the volume, 0 where it does not answer", total)
        try:
            state = self._state()
        except EngineError:
            yield self._gauge("aurora_engine_up", "Whether the engine told its state", 0)
            return
        yield self._gauge("aurora_engine_up", "Whether the engine told its state", 1)
        yield from self._arms(ACCEPT, state["accept"])
        yield from self._arms(DECODE, state["decode"])
        yield from self._capture(state["capture"])
        yield from self._draft(state["draft"], state["steps"])
        yield self._counters("aurora_hook_errors", "Exceptions of the plugin, swallowed", "hook", state["errors"])

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, text, labels=self._names)
        family.add_metric(self._values, value)
        return family

    def _counter(self, name: str, text: str, value: float) -> Metric:
        family = CounterMetricFamily(name, text, labels=self._names)
        family.add_metric(self._values, value)
        return family

    def _counters(self, name: str, text: str, label: str, counts: Mapping[str, float]) -> Metric:
        family = CounterMetricFamily(name, text, labels=[*self._names, label])
        for key, count in counts.items():
            family.add_metric([*self._values, key], count)
        return family

    def _arms(self, sums: Mapping[str, tuple[str, str]], arms: list[dict[str, float]]) -> Iterator[Metric]:
        for key, (name, text) in sums.items():
            family = CounterMetricFamily(name, text, labels=[*self._names, "version", "steps"])
            for arm in arms:
                family.add_metric([*self._values, str(arm["version"]), str(arm["steps"])], arm[key])
            yield family

    def _capture(self, capture: Mapping[str, Any]) -> Iterator[Metric]:
        sent = capture["sent"]
        yield self._counter("aurora_capture_samples", "Samples sent", sent.get("samples", 0))
        yield self._counter("aurora_capture_bytes", "Bytes of samples sent", sent.get("bytes", 0))
        dropped, skipped = capture["dropped"], capture["mismatches"]
        yield self._counters("aurora_capture_dropped", "Requests that did not become samples", "reason", dropped)
        yield self._counters("aurora_capture_skipped_passes", "Forward passes not captured", "reason", skipped)
        yield self._gauge("aurora_capture_queue", "Samples waiting to be sent", capture["queue"])
        yield self._gauge("aurora_capture_rate", "Share of requests captured", capture["rate"])

    def _draft(self, draft: Mapping[str, Any], steps: int) -> Iterator[Metric]:
        yield self._gauge("aurora_draft_live_version", "Version of the live draft", draft["live"])
        yield self._gauge("aurora_draft_steps", "Draft steps of a cycle, 0 when speculation is off", steps)
        yield self._counter("aurora_draft_swaps", "Versions made live", draft["swaps"])
        yield self._counter("aurora_draft_swap_failures", "Versions refused", draft["failures"])
        yield self._counter("aurora_draft_swap_seconds", "Seconds decoding waited", draft["seconds"])
