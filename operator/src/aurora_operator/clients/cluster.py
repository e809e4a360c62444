"""The API server."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError

from aurora_operator import metrics
from aurora_operator.api import GROUP, KIND, VERSION
from aurora_operator.clients.connection import translated
from aurora_operator.errors import ClusterError
from aurora_operator.render.identity import MANAGER

TIMEOUT = 20.0


def _selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _plain(_: object, body: Any) -> Any:  # noqa: ANN401 (JSON)
    """JSON as it came: the dynamic client's own objects cost several times what reading it costs."""
    return body


class Cluster:
    """Reads and writes objects as plain data.

    Every method raises ClusterError where the API server refuses or does not answer.

    Args:
        connection: to the API server; ``connect`` of ``clients/connection.py`` makes one.
        timeout: seconds for each wait of a request.
    """

    def __init__(self, connection: DynamicClient, timeout: float = TIMEOUT) -> None:
        self._client = connection
        self._timeout = timeout

    def _of(self, api_version: str, kind: str) -> Any:  # noqa: ANN401 (the dynamic client has no types)
        with translated(f"find the kind {kind}"):
            return self._client.resources.get(api_version=api_version, kind=kind)

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """An object, or None where there is none."""
        resource = self._of(api_version, kind)
        try:
            with translated(f"get {kind} {namespace}/{name}"):
                metrics.requests.labels("get", kind).inc()
                found: dict[str, Any] = resource.get(
                    name=name, namespace=namespace, serializer=_plain, _request_timeout=self._timeout
                )
        except ClusterError as error:
            if error.status == 404:  # noqa: PLR2004 (HTTP's own)
                return None
            raise
        return found

    def select(self, api_version: str, kind: str, namespace: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """The objects of a kind that have these labels, whoever made them; always asked of the API server."""
        return Cluster.list(self, api_version, kind, namespace, labels)

    def list(self, api_version: str, kind: str, namespace: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """The objects of a kind that have these labels."""
        resource = self._of(api_version, kind)
        with translated(f"list {kind} in {namespace}"):
            metrics.requests.labels("list", kind).inc()
            found = resource.get(
                namespace=namespace, label_selector=_selector(labels), serializer=_plain, _request_timeout=self._timeout
            )
        # The items of a list do not say of which kind they are.
        return [{"apiVersion": api_version, "kind": kind} | item for item in found["items"] or ()]

    def metadata_page(
        self, api_version: str, kind: str, namespace: str, labels: Mapping[str, str], most: int, going: str
    ) -> dict[str, Any]:
        """One page of a list of objects' metadata; all namespaces where the namespace is empty.

        Args:
            api_version: of the kind.
            kind: what to list.
            namespace: where.
            labels: that the objects have.
            most: objects of a page.
            going: what the page before gave as metadata.continue; empty for the first.
        """
        resource = self._of(api_version, kind)
        with translated(f"list {kind}"):
            metrics.requests.labels("list", kind).inc()
            response = self._client.request(
                "get",
                resource.path(namespace=namespace or None),
                label_selector=_selector(labels),
                limit=most,
                _continue=going or None,
                header_params={"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"},
                serialize=False,
                _request_timeout=self._timeout,
            )
            page: dict[str, Any] = json.loads(response.data)
        return page

    @contextmanager
    def metadata_watch(
        self, api_version: str, kind: str, namespace: str, labels: Mapping[str, str], since: str, seconds: int
    ) -> Iterator[Iterator[bytes]]:
        """Pieces of the stream of events of objects' metadata, from a version on, for about so many seconds."""
        resource = self._of(api_version, kind)
        with translated(f"watch {kind}"):
            metrics.requests.labels("watch", kind).inc()
            response = self._client.request(
                "get",
                resource.path(namespace=namespace or None),
                label_selector=_selector(labels),
                resource_version=since,
                watch=True,
                allow_watch_bookmarks=True,
                timeout_seconds=seconds,
                header_params={"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"},
                serialize=False,
                # A connection that is dead without notice ends by it.
                _request_timeout=(self._timeout, seconds + self._timeout),
            )
            try:
                yield response.stream(1 << 16, decode_content=False)
            finally:
                # Not given back to the pool: what is left of the stream is not desired.
                response.close()

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply; ours are the fields that we name, whoever else wrote them. Returns what is there now."""
        metadata = body["metadata"]
        resource = self._of(body["apiVersion"], body["kind"])
        with translated(f"apply {body['kind']} {metadata['namespace']}/{metadata['name']}"):
            metrics.requests.labels("apply", body["kind"]).inc()
            made: dict[str, Any] = resource.server_side_apply(
                body=dict(body),
                name=metadata["name"],
                namespace=metadata["namespace"],
                field_manager=MANAGER,
                force_conflicts=True,
                serializer=_plain,
                _request_timeout=self._timeout,
            )
        return made

    def create(self, body: Mapping[str, Any]) -> None:
        """Make an object."""
        self._write("create", body)

    def replace(self, body: Mapping[str, Any]) -> None:
        """Replace an object, unless it changed since it had the resourceVersion of the body."""
        self._write("replace", body)

    def _write(self, verb: str, body: Mapping[str, Any]) -> None:
        kind, metadata = body["kind"], body["metadata"]
        resource = self._of(body["apiVersion"], kind)
        with translated(f"{verb} {kind} {metadata['namespace']}/{metadata['name']}"):
            metrics.requests.labels(verb, kind).inc()
            getattr(resource, verb)(body=dict(body), namespace=metadata["namespace"], _request_timeout=self._timeout)

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the API server has this kind of a group, which may come later than the operator."""
        with translated(f"find the kind {kind}"):
            # Both: a group may be in the list of groups later than it answers itself.
            group, _, version = api_version.partition("/")
            groups = self._raw("/apis")["groups"]
            if not any(one["name"] == group and version in (v["version"] for v in one["versions"]) for one in groups):
                return False
            try:
                return any(one["kind"] == kind for one in self._raw(f"/apis/{api_version}")["resources"])
            except NotFoundError:
                return False

    def _raw(self, path: str) -> dict[str, Any]:
        response = self._client.request("get", path, serialize=False, _request_timeout=self._timeout)
        found: dict[str, Any] = json.loads(response.data)
        return found

    def patch(
        self, api_version: str, kind: str, namespace: str, name: str, change: Mapping[str, Any] | Sequence[Any]
    ) -> dict[str, Any]:
        """Change what a merge patch names, or, as a list, a JSON patch, and nothing else. Returns what is there now."""
        resource, how = self._of(api_version, kind), "merge" if isinstance(change, Mapping) else "json"
        with translated(f"patch {kind} {namespace}/{name}"):
            metrics.requests.labels("patch", kind).inc()
            made: dict[str, Any] = resource.patch(
                body=dict(change) if isinstance(change, Mapping) else list(change),
                name=name,
                namespace=namespace,
                content_type=f"application/{how}-patch+json",
                field_manager=MANAGER,
                serializer=_plain,
                _request_timeout=self._timeout,
            )
        return made

    def delete(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        """Delete an object and what it owns."""
        resource = self._of(api_version, kind)
        with translated(f"delete {kind} {namespace}/{name}"):
            metrics.requests.labels("delete", kind).inc()
            resource.delete(
                name=name,
                namespace=namespace,
                body={"propagationPolicy": "Background"},
                _request_timeout=self._timeout,
            )

    def write_status(
        self, namespace: str, name: str, status: Mapping[str, Any], resource_version: str
    ) -> dict[str, Any]:
        """Replace the status, unless the resource changed since it was read. Returns the resource as it is now."""
        resource = self._of(f"{GROUP}/{VERSION}", KIND)
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": resource_version},
            "status": dict(status),
        }
        with translated(f"write the status of {namespace}/{name}"):
            metrics.requests.labels("patch", KIND).inc()
            written: dict[str, Any] = resource.status.patch(
                body=body,
                name=name,
                namespace=namespace,
                content_type="application/merge-patch+json",
                serializer=_plain,
                _request_timeout=self._timeout,
            )
        return written

    def event(self, about: Mapping[str, Any], kind: str, reason: str, message: str) -> None:
        """Report an Event of the resource."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = about["metadata"]
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message[:1000],
            "source": {"component": MANAGER},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        resource = self._of("v1", "Event")
        with translated(f"write an event of {metadata['name']}"):
            metrics.requests.labels("create", "Event").inc()
            resource.create(body=body, namespace=metadata["namespace"], _request_timeout=self._timeout)
