"""Which series count as evidence, and why none do where Prometheus has them in another form than agents export."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from aurora_core.protocol.metrics import ENGINE, SPECULATOR, STEPS, VERSION

from aurora_operator.promotion.counters import LATER, NAMES, STRATUM_NAMES, Series
from aurora_operator.render.identity import Resource


def believed(series: Sequence[Series], engines: Collection[str]) -> list[Series]:
    """The series that come from one of these pods.

    The labels ``speculator`` and ``engine`` are of the exposition: any pod that is scraped can write them. Service
    discovery sets ``namespace`` and ``pod``, so that a pod of another namespace cannot have ours, and a pod that names
    another one as its engine is not believed.

    Args:
        series: as Prometheus has them.
        engines: names of the resource's own engine pods, see :mod:`aurora_operator.reconcile.ownership`.
    """
    return [
        one
        for one in series
        if (engine := one.labels.get(ENGINE, "")) in engines and one.labels.get("pod", engine) == engine
    ]


def is_labelled(one: Series) -> bool:
    """Whether a series has the labels of its arm, as the agent wrote them.

    A target label of the same name takes their place unless ``honor_labels`` is set, and Prometheus then keeps the
    agent's own as ``exported_version``.
    """
    return all(
        one.labels.get(name, "").isdecimal() and f"exported_{name}" not in one.labels for name in (VERSION, STEPS)
    )


@dataclass
class Origin:
    """What was seen of a resource's counters, of whatever version.

    Attributes:
        own: whether there were any of the resource's own pods.
        strangers: whether there were any that only say that they are of this resource.
        names: counters of its own pods that have the labels of an arm.
    """

    own: bool = False
    strangers: bool = False
    names: set[str] = field(default_factory=set)

    def add(self, series: Sequence[Series], own: Sequence[Series]) -> None:
        """Take in what Prometheus has, and which part of it is believed."""
        self.own = self.own or bool(own)
        self.strangers = self.strangers or len(own) < len(series)
        self.names.update(one.labels.get("__name__", "") for one in own if is_labelled(one))

    def problem(self, resource: Resource) -> str:
        """Why these counters can prove nothing, if so; then there is no data, whatever the traffic."""
        where = f"{SPECULATOR}={resource.full_name} and namespace={resource.namespace}"
        if not self.own and self.strangers:
            return (
                f"Prometheus has counters with the labels {where}, but of none of the resource's own engine "
                "pods: what other pods export proves nothing"
            )
        if not self.own:
            return (
                f"Prometheus has no counters with the labels {where}: it must scrape the engine pods' agents, and "
                "set the target labels namespace and pod"
            )
        if not self.names:
            return (
                f"Prometheus has the engines' counters without the agents' labels {VERSION} and {STEPS}: relabelling "
                "drops or replaces them (exported_version); set honor_labels, or remove target labels of these names"
            )
        strata = () if resource.spec.promotion.strata is None else STRATUM_NAMES
        missing = [name for name in (*NAMES, *strata) if name not in self.names and name not in LATER]
        if missing:
            return (
                f"Prometheus has no {missing[0]}, but other counters of the same engines: metric relabelling drops it"
                + (f", and {len(missing) - 1} more" if len(missing) > 1 else "")
                + ("; or the engines' image is from before promotion.strata" if missing[0] in strata else "")
            )
        return ""
