"""A resource in mode Online, and its RayCluster."""

from aurora_operator.render import ray
from aurora_operator.render.identity import Resource
from operator_support import a_spec

READY = {"type": "Ready", "status": "True"}
AT = (ray.API, ray.KIND, "chat-ray")


def a_resource(**spec):
    return Resource("chat", "ns", "u-1", online(**spec))


def online(**spec):
    return a_spec(mode="Online", samples={"transport": "Ray"}, **spec)
