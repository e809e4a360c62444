"""The engine's measurements as Prometheus metrics."""

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aurora_core.errors import EngineError

_SUMS = {
    "n": ("aurora_accept_observations", "Finished requests, or their parts under one draft (n)"),
    "t": ("aurora_accept_tokens", "Tokens emitted in verify cycles (sum of T)"),
    "v": ("aurora_accept_cycles", "Verify cycles (sum of V)"),
    "tt": ("aurora_accept_tokens_squared", "Sum of T squared over observations"),
    "tv": ("aurora_accept_tokens_cycles", "Sum of T times V over observations"),
    "vv": ("aurora_accept_cycles_squared", "Sum of V squared over observations"),
}


class EngineCollector(Collector):
    """Asks the engine at every scrape; an engine that does not answer is ``aurora_engine_up`` 0."""

    def __init__(self, state: Callable[[], dict[str, Any]]) -> None:
        self._state = state

    def describe(self) -> Iterator[Metric]:
        """Nothing is known before the engine is asked."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        up = GaugeMetricFamily("aurora_engine_up", "Whether the engine told its state")
        try:
            state = self._state()
        except EngineError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from _accept(state["accept"])
        yield from _capture(state["capture"])
        yield from _draft(state["draft"], state["steps"])
        errors = CounterMetricFamily("aurora_hook_errors", "Exceptions of the plugin, swallowed", labels=["hook"])
        for hook, count in state["errors"].items():
            errors.add_metric([hook], count)
        yield errors


def _accept(arms: list[dict[str, int]]) -> Iterator[Metric]:
    for key, (name, text) in _SUMS.items():
        family = CounterMetricFamily(name, text, labels=["version", "steps"])
        for arm in arms:
            family.add_metric([str(arm["version"]), str(arm["steps"])], arm[key])
        yield family


def _capture(capture: dict[str, Any]) -> Iterator[Metric]:
    yield CounterMetricFamily("aurora_capture_samples", "Samples sent", value=capture["sent"].get("samples", 0))
    yield CounterMetricFamily("aurora_capture_bytes", "Bytes of samples sent", value=capture["sent"].get("bytes", 0))
    dropped = CounterMetricFamily("aurora_capture_dropped", "Requests that did not become samples", labels=["reason"])
    for reason, count in capture["dropped"].items():
        dropped.add_metric([reason], count)
    yield dropped
    skipped = CounterMetricFamily("aurora_capture_skipped_passes", "Forward passes not captured", labels=["reason"])
    for reason, count in capture["mismatches"].items():
        skipped.add_metric([reason], count)
    yield skipped
    yield GaugeMetricFamily("aurora_capture_queue", "Samples waiting to be sent", value=capture["queue"])
    yield GaugeMetricFamily("aurora_capture_rate", "Share of requests captured", value=capture["rate"])


def _draft(draft: dict[str, Any], steps: int) -> Iterator[Metric]:
    yield GaugeMetricFamily("aurora_draft_live_version", "Version of the live draft", value=draft["live"])
    yield GaugeMetricFamily("aurora_draft_steps", "Draft steps of a cycle, 0 when speculation is off", value=steps)
    yield CounterMetricFamily("aurora_draft_swaps", "Versions made live", value=draft["swaps"])
    yield CounterMetricFamily("aurora_draft_swap_failures", "Versions refused", value=draft["failures"])
    yield CounterMetricFamily("aurora_draft_swap_seconds", "Seconds decoding waited", value=draft["seconds"])
