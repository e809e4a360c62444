"""An API server in memory that counts requests, in the place of the real one."""

import itertools

from aurora_operator.clients.cached import RESOURCE
from aurora_operator.clients.cluster import Cluster
from aurora_operator.clients.versions import ObjectKey, Version
from aurora_operator.errors import ClusterError

LABELS = {"app.kubernetes.io/instance": "chat"}
POD, SECRET, MAP = ("v1", "Pod"), ("v1", "Secret"), ("v1", "ConfigMap")


class Server:
    """An API server in memory that counts requests."""

    def __init__(self):
        self.objects, self.requests, self._versions = {}, 0, itertools.count(1)

    def put(self, key, **more):
        metadata = {"name": key.name, "namespace": key.namespace, "labels": LABELS, "managedFields": ["x"] * 9}
        metadata["resourceVersion"] = str(next(self._versions))
        self.objects[key] = {"apiVersion": key.api_version, "kind": key.kind, "metadata": metadata, **more}
        return self.objects[key]

    def version(self, key):
        return Version(self.objects[key]["metadata"]["resourceVersion"], "chat")


def stand_in(replace):
    server = Server()

    def get(_, *key):
        server.requests += 1
        return server.objects.get(ObjectKey(*key))

    def listed(_, api_version, kind, namespace, labels):
        server.requests += 1
        return [body for key, body in server.objects.items() if key[:3] == (api_version, kind, namespace)]

    def apply(_, body):
        server.requests += 1
        metadata = body["metadata"]
        key = ObjectKey(body["apiVersion"], body["kind"], metadata["namespace"], metadata["name"])
        return server.put(
            key, **{name: value for name, value in body.items() if name not in {"apiVersion", "kind", "metadata"}}
        )

    def delete(_, *key):
        server.requests += 1
        server.objects.pop(ObjectKey(*key), None)

    def write_status(_, namespace, name, status, resource_version):
        server.requests += 1
        key = ObjectKey(*RESOURCE, namespace, name)
        if server.objects[key]["metadata"]["resourceVersion"] != resource_version:
            raise ClusterError("conflict", 409)
        return server.put(key, status=status)

    for name, function in (
        ("get", get),
        ("list", listed),
        ("apply", apply),
        ("delete", delete),
        ("write_status", write_status),
    ):
        replace(Cluster, name, function)
    return server


def key(kind, name="chat-x"):
    return ObjectKey(*kind, "ns", name)
