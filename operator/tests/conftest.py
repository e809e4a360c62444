"""A resource and the world around it, as plain data."""

from datetime import UTC, datetime

import pytest
from aurora_operator.api.spec import Spec
from aurora_operator.api.status import Status
from aurora_operator.reconcile.world import World, key
from aurora_operator.render.identity import Images, Resource

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
IMAGES = Images("registry/engine:1", "registry/trainer:1")


def a_spec(**more):
    base = {
        "mode": "ExternalWithoutDraft",
        "target": {"model": "org/model"},
        "promotion": {"prometheus": {"url": "http://prometheus:9090"}},
    }
    return Spec.model_validate(base | more)


def a_body(spec, status=None, annotations=None):
    metadata = {"name": "chat", "namespace": "ns", "uid": "u-1", "generation": 3, "resourceVersion": "7"}
    return {
        "apiVersion": "aurora-operator.io/v1alpha1",
        "kind": "SpeculatorDeployment",
        "metadata": metadata | {"annotations": annotations or {}},
        "spec": spec.model_dump(mode="json", by_alias=True),
        "status": (status or Status()).model_dump(mode="json", by_alias=True),
    }


def a_world(spec=None, status=None, annotations=None, children=(), **more):
    spec, status = spec or a_spec(), status or Status()
    return World(
        body=a_body(spec, status, annotations),
        spec=spec,
        status=status,
        now=more.pop("now", NOW),
        images=IMAGES,
        children={key(child): child for child in children},
        new_keys={"admin": "1", "agent": "2", "samples": "3"},
        **more,
    )


@pytest.fixture
def resource():
    return Resource("chat", "ns", "u-1", a_spec())
