"""The engine's measurements as Prometheus metrics."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aurora_core.errors import EngineError, WeightsError
from aurora_core.protocol import metrics
from aurora_core.protocol.agent import Volume
from aurora_core.protocol.engine import ArmCounters, EngineState, StratumCounters, measured
from aurora_core.protocol.message import Message

_Values = Mapping[tuple[str, ...], float]
"""By the values of a metric's own labels."""


class EngineCollector(Collector):
    """Polls engine and volume at every scrape.

    An engine that does not answer is ``aurora_engine_up`` 0, a volume that does not answer has no bytes. Every metric
    carries the labels that it is made with: which deployment and which engine this is.
    """

    def __init__(
        self, state: Callable[[], EngineState], volume: Callable[[], Volume], labels: Mapping[str, str]
    ) -> None:
        self._state = state
        self._volume = volume
        self._names = tuple(labels)
        self._values = tuple(labels.values())

    def describe(self) -> Iterator[Metric]:
        """Nothing is known before the engine is polled."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        try:
            volume = self._volume()
        except WeightsError:
            volume = Volume(free=0, total=0)
        yield from self._fields(volume)
        try:
            state = self._state()
        except EngineError:
            yield self._family(metrics.ENGINE_UP, {(): 0})
            return
        yield self._family(metrics.ENGINE_UP, {(): 1})
        for message in (state, state.draft, state.capture):
            yield from self._fields(message)
        yield from self._arms(state.arms)

    def _family(self, metric: metrics.Metric, values: _Values) -> Metric:
        made = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = made(metric.name, metric.text, labels=[*self._names, *metric.labels])
        for labels, value in values.items():
            family.add_metric([*self._values, *labels], value)
        return family

    def _fields(self, message: Message) -> Iterator[Metric]:
        for field, metric in measured(type(message)):
            found = getattr(message, field)
            yield self._family(metric, {(key,): n for key, n in found.items()} if metric.labels else {(): found})

    def _arms(self, arms: Sequence[ArmCounters]) -> Iterator[Metric]:
        for field, metric in measured(ArmCounters):
            yield self._family(metric, {(str(arm.version), str(arm.steps)): getattr(arm, field) for arm in arms})
        strata = {(str(arm.version), str(arm.steps), name): one for arm in arms for name, one in arm.strata.items()}
        if strata:
            for field, metric in measured(StratumCounters):
                yield self._family(metric, {labels: getattr(one, field) for labels, one in strata.items()})
