"""What is wrong in the cluster, and what to do; what cannot be seen is not called missing."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from importlib.metadata import version
from urllib.parse import urlencode

from aurora_core.printable import listed
from aurora_core.protocol import metrics

from aurora_operator.api import GROUP, VERSION
from aurora_operator.cli import messages, prometheus, upgrade
from aurora_operator.cli.kubectl import Answer, Failure, Found, Kubectl
from aurora_operator.render import gpus
from aurora_operator.render.identity import Images
from aurora_operator.render.serving import ENGINE

_OPERATORS = ("-l", "app.kubernetes.io/name=aurora-operator")
_MOST_PATHS = 5
"""Changes of a pod that a message names."""


class Result(StrEnum):
    """What a check found."""

    OK = "ok"
    RESTARTS = "restarts"
    MISSING = "MISSING"
    FAILING = "FAILING"
    UNREACHABLE = "UNREACHABLE"
    FORBIDDEN = "FORBIDDEN"


BAD = {Result.MISSING, Result.FAILING, Result.UNREACHABLE}
"""What ends the command with 1; what these credentials may not see may be all right."""


@dataclass(frozen=True)
class Check:
    """What was checked, what was found, and what to do about it."""

    name: str
    result: Result
    message: str = ""

    def row(self) -> dict[str, str]:
        """As JSON shows it."""
        return {key: str(value) for key, value in asdict(self).items()}


_RESULTS = {
    Failure.UNREACHABLE: Result.UNREACHABLE,
    Failure.UNAUTHENTICATED: Result.FORBIDDEN,
    Failure.FORBIDDEN: Result.FORBIDDEN,
    Failure.NO_KIND: Result.MISSING,
    Failure.MISSING: Result.MISSING,
    Failure.OTHER: Result.FAILING,
}


def from_answer(name: str, answer: Answer, fine: Callable[[str], bool], remedy: str) -> Check:
    """A check from what kubectl answered.

    Args:
        name: of what is checked.
        answer: kubectl's.
        fine: whether its output is as it should be.
        remedy: what to do where it is not, or where nothing is there.
    """
    if answer.failure is None:
        return Check(name, Result.OK) if fine(answer.out) else Check(name, Result.MISSING, remedy)
    result = _RESULTS[answer.failure]
    if result is Result.MISSING:
        return Check(name, result, remedy)
    if result is Result.FORBIDDEN:
        return Check(name, result, f"cannot be checked with these credentials: {_last(answer.error)}")
    return Check(name, result, _last(answer.error))


def _last(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else ""


def _cluster(kubectl: Kubectl, *, resources: Sequence[str], claim: bool) -> Iterator[Check]:
    api = kubectl.attempt("get", "--raw", f"/apis/{GROUP}/{VERSION}")
    remedy = "helm install the chart aurora-operator"
    if api.failure is Failure.OTHER and "404" in api.error:
        api = Answer("", api.error, Failure.MISSING)
    yield from_answer("CustomResourceDefinition", api, bool, remedy)
    ready = (*_OPERATORS, "-o", "jsonpath={.items[*].status.readyReplicas}")
    operators = kubectl.attempt("get", "deployments", "--all-namespaces", *ready)
    remedy = "its Deployment is missing or not ready: see its pod's log"
    yield from_answer("operator", operators, lambda out: bool(out.strip()), remedy)
    if claim:
        classes = kubectl.attempt("get", "storageclasses", "-o", "jsonpath={.items[*].metadata.name}")
        remedy = "there is none: name an existing claim in weights.claimName"
        yield from_answer("storage class", classes, lambda out: bool(out.strip()), remedy)
    for name in resources:
        path = name.replace(".", "\\.")
        nodes = kubectl.attempt("get", "nodes", "-o", f"jsonpath={{.items[*].status.allocatable.{path}}}")
        remedy = f"no node offers {name}: install its device plugin, name another in gpuResource, or set device: cpu"
        yield from_answer("GPUs", nodes, lambda out: any(n not in {"", "0"} for n in out.split()), remedy)


def of_prometheus(found: Found, answer: Answer) -> Check:
    """Whether that Prometheus has the engines that the gate needs, from its answer."""
    name = "Prometheus"
    spec = found.spec.promotion.prometheus
    needs = prometheus.needs(spec) if spec is not None else ""
    if answer.failure in {Failure.FORBIDDEN, Failure.UNAUTHENTICATED} or (answer.failure is not None and needs):
        why = f"it needs {needs}, which a query from here does not send" if needs else _last(answer.error)
        text = f"cannot be queried from here: {why}; PromotionProgressing has what the operator sees"
        return Check(name, Result.FORBIDDEN, text)
    if answer.failure in {Failure.NO_KIND, Failure.MISSING}:
        text = "promotion.prometheus.url names no Service that is there, or a path below which there is no query API"
        return Check(name, Result.MISSING, text)
    if answer.failure is not None:
        return Check(name, Result.UNREACHABLE, f"promotion.prometheus.url does not answer: {_last(answer.error)}")
    try:
        series = json.loads(answer.out)["data"]["result"]
        engines = {one["metric"].get(metrics.ENGINE, "?"): (one["metric"], float(one["value"][1])) for one in series}
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return Check(name, Result.FAILING, "promotion.prometheus.url answers, but not as a Prometheus does")
    return _scraped(found, engines)


def _scraped(found: Found, engines: Mapping[str, tuple[Mapping[str, str], float]]) -> Check:
    name, full = "Prometheus", f"{found.namespace}/{found.name}"
    if not engines:
        text = (
            f"it answers and has no engine of {full}: let it scrape port 30001 of the engine pods (podMonitor.enabled "
            "and podMonitor.labels of the chart, or the pods' annotations)"
        )
        return Check(name, Result.MISSING, text)
    foreign = [engine for engine, (labels, _) in engines.items() if labels.get("namespace") != found.namespace]
    if foreign:
        text = f"series of {foreign[0]} lack the target label namespace={found.namespace}, so they prove nothing"
        return Check(name, Result.FAILING, text)
    down = sorted(engine for engine, (_, value) in engines.items() if value != 1)
    if down:
        text = f"{len(down)} of {len(engines)} engines do not answer their agent: {down[0]}"
        return Check(name, Result.FAILING, text)
    return Check(name, Result.OK, f"has {len(engines)} engines of {full}")


def _resource(kubectl: Kubectl, found: Found) -> Iterator[Check]:
    spec = found.spec.promotion.prometheus
    if spec is not None:
        query = f'{metrics.ENGINE_UP}{{{metrics.SPECULATOR}="{found.namespace}/{found.name}"}}'
        below = f"/api/v1/query?{urlencode({'query': query})}"
        yield of_prometheus(found, prometheus.queried(kubectl, spec, below))
    for one in found.status.conditions:
        fine = messages.is_fine(one)
        result = Result.OK if fine else Result.FAILING
        yield Check(one.type, result, f"{one.reason} {one.message}".strip())
    if not found.status.conditions:
        yield Check("status", Result.MISSING, "the operator has not reported anything of this resource yet")


def _gpus(found: Found) -> list[str]:
    """By which names its pods ask for GPUs."""
    serving, training = found.spec.serving, found.spec.training
    return sorted({*gpus.names(serving, ENGINE), *gpus.names(training, "trainer")})


def upgrades(kubectl: Kubectl, name: str | None, engine: str | None, trainer: str | None) -> Iterator[Check]:
    """Which pods an operator of this version would restart, before it does.

    Args:
        kubectl: to see what runs.
        name: of a resource; all of the namespace where there is none.
        engine: image that the operator would give to engines; as the running one does where it is not named.
        trainer: the same of trainers.
    """
    operators = kubectl.attempt("get", "deployments", "--all-namespaces", *_OPERATORS, "-o", "json")
    images = upgrade.running_images(operators)
    if images is None and engine and trainer:
        images = Images(engine, trainer)
    if images is None:
        why = _last(operators.error) or "there is no operator"
        result = _RESULTS[operators.failure] if operators.failure is not None else Result.MISSING
        yield Check("upgrade", result, f"{why}: name the new operator's images by --engine-image and --trainer-image")
        return
    images = replace(images, engine=engine or images.engine, trainer=trainer or images.trainer)
    what = f"an operator of version {version('aurora-operator')} with {images.engine} and {images.trainer}"
    for found in [kubectl.get(name)] if name else kubectl.all(everywhere=False):
        there = upgrade.restarts(kubectl.within(found.namespace), found, images)
        for part, paths in there.items():
            text = f"{what} restarts its pods: {listed(paths, _MOST_PATHS)}"
            fine = f"{what} restarts none of its pods"
            yield Check(f"upgrade of {part}", Result.RESTARTS if paths else Result.OK, text if paths else fine)


def checks(kubectl: Kubectl, name: str | None) -> Iterator[Check]:
    """All checks, in the order in which they matter; none after the first where the API server does not answer."""
    answer = kubectl.attempt("get", "--raw", "/version")
    if answer.failure in {Failure.UNREACHABLE, Failure.UNAUTHENTICATED}:
        what = (
            "log in again" if answer.failure is Failure.UNAUTHENTICATED else "check the context, the network, the VPN"
        )
        result = _RESULTS[answer.failure]
        yield Check("API server", result, f"{_last(answer.error)}: {what}; nothing else could be checked")
        return
    yield Check("API server", Result.OK)
    found = kubectl.get(name) if name else None
    resources = [gpus.DEFAULT] if found is None else _gpus(found)
    yield from _cluster(kubectl, resources=resources, claim=found is None or found.spec.weights.claim_name is None)
    if found is not None:
        yield from _resource(kubectl, found)
