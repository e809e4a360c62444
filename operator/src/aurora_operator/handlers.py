"""What kopf watches. Events only wake workers; what to do is always decided from a fresh snapshot.

Only event handlers are registered: kopf then puts neither finalizers nor annotations on anything, so a resource can
be deleted whether or not an operator runs, and what it owns is collected by Kubernetes itself.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import kopf
from prometheus_client import start_http_server

from aurora_core import listening
from aurora_operator import metrics
from aurora_operator.api import GROUP, KIND, PLURAL, VERSION
from aurora_operator.api.status import Status
from aurora_operator.clients.cached import RESOURCE, CachedCluster
from aurora_operator.clients.connection import connect
from aurora_operator.clients.informer import Informer
from aurora_operator.clients.versions import ObjectKey, Version, Versions
from aurora_operator.controller import STALLED_SECONDS, Controller, Name
from aurora_operator.errors import OperatorError, SpecError
from aurora_operator.reconcile import contest, rival, route, unreadable
from aurora_operator.reconcile.drift import rendered
from aurora_operator.reconcile.evidence import measure
from aurora_operator.reconcile.execute import execute
from aurora_operator.reconcile.observe import observe
from aurora_operator.reconcile.plan import RESYNC_SECONDS, Plan, plan
from aurora_operator.reconcile.polling import Polling
from aurora_operator.reconcile.snapshot import Problem, Snapshot, key
from aurora_operator.render.identity import Resource
from aurora_operator.settings import Settings

log = logging.getLogger(__name__)

_UNREADABLE_SECONDS = 60.0
_MOST_IGNORED = 20
_CHUNK = 50
"""Objects of a page of a list: what is in memory at once, however many there are."""
_WATCH_SECONDS = 240
_RECONCILES_A_SECOND = 33.0
"""Of resources that are at rest; a larger fleet is reconciled less often, unless something happens."""


class Reconciler:
    """Observe, plan, execute."""

    def __init__(self, cluster: CachedCluster, settings: Settings) -> None:
        self._cluster = cluster
        self._settings = settings
        # What the last reconcile failed with, to be shown by the next; nothing is decided by it.
        self._problems: dict[Name, tuple[Problem, ...]] = {}
        self._ignored: dict[Name, tuple[str, ...]] = {}
        self._names: set[Name] = set()
        self._claims = rival.Claims(settings.instance)
        self._memory = contest.Memory()
        self._routes: dict[Name, Resource] = {}
        self._polling = Polling(partial(measure, cluster, trusted=settings.trusted_hosts))

    def reconcile(self, name: Name) -> float | None:
        """Reconcile one resource; see :class:`Controller`."""
        body = self._cluster.get(f"{GROUP}/{VERSION}", KIND, name.namespace, name.name)
        if body is None or body["metadata"].get("deletionTimestamp"):
            self._problems.pop(name, None)
            self._ignored.pop(name, None)
            self._polling.forget(str(name))
            self._route(name, None)
            metrics.forget(str(name))
            self._cluster.forget(*name)
            self._claims.forget(str(name))
            self._memory.forget(str(name))
            self._names.discard(name)
            self._cluster.resources = len(self._names)
            return None
        self._names.add(name)
        self._cluster.resources = len(self._names)
        doing = "observing"
        try:
            snapshot = observe(self._cluster, body, self._settings.images, self._polling, self._problems.pop(name, ()))
            stamped = rival.annotations(snapshot.children.get(("v1", "ConfigMap", snapshot.resource.desired)))
            if self._claims.stands_back(str(name), stamped, snapshot.now):
                self._stand_back(name, snapshot, stamped)
                return _UNREADABLE_SECONDS
            doing = "planning"
            snapshot = self._acting(name, snapshot, stamped)
            self._route(name, snapshot.resource)
            todo = plan(snapshot)
            doing = "applying"
            return self._carry_out(name, snapshot, todo)
        except SpecError as error:
            log.error("%s: %s", name, error)  # noqa: TRY400 (says all there is)
            metrics.failures.labels(str(name), "spec").inc()
            unreadable.report(self._cluster, body, "SpecUnreadable", str(error))
            return _UNREADABLE_SECONDS
        except OperatorError:
            raise
        except Exception as error:
            # What no check foresaw must show on its own resource; the controller counts and logs it, and tries again.
            text = f"{type(error).__name__} while {doing}: the operator's log has the traceback; please report it"
            unreadable.report(self._cluster, body, "ReconcileFailing", text)
            raise

    def _route(self, name: Name, resource: Resource | None) -> None:
        """Remember what names a route; one that is named no longer gives stable all requests again."""
        before = self._routes.pop(name, None)
        if before is not None and (resource is None or route.key(before) != route.key(resource)):
            route.release(self._cluster, before)
        if resource is not None and route.key(resource) is not None:
            self._routes[name] = resource

    def _carry_out(self, name: Name, snapshot: Snapshot, todo: Plan) -> float:
        if snapshot.ignored and self._ignored.get(name) != snapshot.ignored:
            log.warning("%s: ignored, because unknown here: %s", name, ", ".join(snapshot.ignored[:_MOST_IGNORED]))
        self._ignored[name] = snapshot.ignored
        problems = self._problems[name] = execute(self._cluster, snapshot, todo)
        self._remember(name, snapshot, todo, problems)
        if not self._problems[name]:
            self._claims.acted(str(name))
        status = snapshot.status if todo.status is None else Status.model_validate(todo.status)
        metrics.show(str(name), snapshot.spec, status)
        if todo.again_seconds < RESYNC_SECONDS:
            return todo.again_seconds
        # Spread: a fleet that was changed at once is not reconciled at once for ever.
        spread = random.uniform(0.75, 1.25)  # noqa: S311 (jitter)
        return max(todo.again_seconds, spread * len(self._names) / _RECONCILES_A_SECOND)

    def _remember(self, name: Name, snapshot: Snapshot, todo: Plan, problems: tuple[Problem, ...]) -> None:
        """What was applied, and who made it necessary."""
        refused = {one.about for one in problems}
        done = [(key(body), rendered(body), todo.undone.get(key(body), "")) for body in todo.apply]
        if todo.dealt.change is not None:
            done.append((todo.dealt.change.at, todo.dealt.change.rendered, todo.dealt.change.by))
        self._memory.note(str(name), [one for one in done if one[0] not in refused], snapshot.now)
        found = contest.contested(self._memory.of(str(name)), snapshot.now)
        metrics.contested_objects.labels(str(name)).set(len(found))

    def _acting(self, name: Name, snapshot: Snapshot, stamped: Mapping[str, str]) -> Snapshot:
        """With this installation as the one that acts, and another that stands back as a problem."""
        other = self._claims.rival(stamped, snapshot.now)
        metrics.contested.labels(str(name)).set(bool(other))
        text = f"the operator {other} watches this namespace too: let one of them watch it, or uninstall one"
        problems = (*snapshot.problems, Problem("TwoOperators", text)) if other else snapshot.problems
        return replace(
            snapshot,
            operator=self._settings.instance,
            network=self._settings.network,
            problems=problems,
            applied=self._memory.of(str(name)),
        )

    def _stand_back(self, name: Name, snapshot: Snapshot, stamped: Mapping[str, str]) -> None:
        """Leave a resource to the other installation that acts on it, and have that one show it."""
        metrics.contested.labels(str(name)).set(1)
        mark = self._claims.mark(stamped, snapshot.now)
        if mark is not None:
            log.warning("%s: the operator %s acts on it too: standing back", name, stamped[rival.STAMP])
            change = {"metadata": {"annotations": mark}}
            self._cluster.patch("v1", "ConfigMap", name.namespace, snapshot.resource.desired, change)


@kopf.on.startup()
async def start(memo: kopf.Memo, settings: kopf.OperatorSettings, **_: Any) -> None:
    """Make the workers' controller."""
    settings.posting.enabled = False
    settings.persistence.finalizer = f"{GROUP}/unused"
    settings.watching.chunk_size = _CHUNK
    # A connection that is dead without notice must not leave changes unnoticed.
    settings.watching.server_timeout, settings.watching.client_timeout = _WATCH_SECONDS, _WATCH_SECONDS + 30
    settings.watching.connect_timeout = 20
    ours = Settings.from_environment()
    # With Roles alone, kopf would spend a minute on finding out that it may not list CRDs and namespaces.
    settings.scanning.disabled = bool(ours.watch_namespaces)
    start_http_server(ours.metrics_port, listening.wildcard())
    memo.versions = Versions()
    cluster = CachedCluster(connect(), memo.versions)
    memo.controller = Controller(Reconciler(cluster, ours).reconcile)
    loop = asyncio.get_running_loop()

    def changed(namespace: str, owner: str) -> None:
        if owner:
            loop.call_soon_threadsafe(memo.controller.nudge, Name(namespace, owner))

    memo.informer = Informer(cluster, memo.versions, ours.watch_namespaces, changed)
    memo.informer.start()


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    """End watches and workers."""
    memo.informer.stop()
    memo.finished.extend([True] if await memo.controller.close() else [])


@kopf.on.probe(id="reconciling")
async def reconciling(memo: kopf.Memo, **_: Any) -> str:
    """Whether reconciling makes progress; an error here makes the liveness endpoint answer 500."""
    stalled: float = memo.controller.stalled_seconds()
    if stalled > STALLED_SECONDS:
        raise kopf.PermanentError(f"no reconcile ended for {stalled:.0f} s, though some are due")
    return "making progress"


@kopf.on.event(GROUP, VERSION, PLURAL)  # type: ignore[arg-type]
async def changed(memo: kopf.Memo, event: kopf.RawEvent, namespace: str, name: str, meta: kopf.Meta, **_: Any) -> None:
    """The resource itself was made, changed, deleted, or seen again after a start.

    What the operator writes into a status is no reason to reconcile again, or it would never end.
    """
    key = ObjectKey(*RESOURCE, namespace, name)
    if event["type"] == "DELETED":
        memo.versions.gone(key)
    else:
        memo.versions.note(key, Version(meta.get("resourceVersion") or "", name))
    revision = (meta.get("uid"), meta.get("generation"), dict(meta.annotations))
    if event["type"] == "DELETED" or memo.get("revision") != revision:
        memo.revision = revision
        memo.controller.wake(Name(namespace, name))
