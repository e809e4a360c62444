"""SGLang's own metrics of serving, which only its admin key opens, with the labels of this engine."""

import re
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from aurora_core.errors import EngineError
from aurora_core.protocol import metrics

_FAMILIES = {one.name: one for one in metrics.SGLANG}
_MOST_SAMPLES = 5000
"""Of all families together; an engine image can be anybody's."""
_LABEL = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*")


class ServingCollector(Collector):
    """Passes on the families that are known, at every scrape; an engine that does not answer has none.

    Whether it answers is a metric of its own already.

    Args:
        read: gives SGLang's metrics as text, and raises EngineError where there are none.
        labels: of every sample; the engine cannot set them.
    """

    def __init__(self, read: Callable[[], str], labels: Mapping[str, str]) -> None:
        self._read = read
        self._labels = dict(labels)

    def describe(self) -> Iterator[Metric]:
        """Nothing is known before the engine is polled."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        try:
            # All of it before the first sample goes out: a malformed answer is left out entirely.
            yield from list(self._known(self._read()))
        except (EngineError, ValueError):
            return

    def _known(self, text: str) -> Iterator[Metric]:
        left = _MOST_SAMPLES
        seen = set()
        for family in text_string_to_metric_families(text):
            known = _FAMILIES.get(family.name)
            if known is None or known.kind != family.type or family.name in seen:
                continue
            seen.add(family.name)
            made = Metric(known.name, known.text, known.kind)
            for sample in family.samples[:left]:
                own = {name: value for name, value in sample.labels.items() if _LABEL.fullmatch(name)}
                made.add_sample(sample.name, {**own, **self._labels}, sample.value)
            left -= len(made.samples)
            yield made
