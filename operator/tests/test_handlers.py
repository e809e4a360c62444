"""What wakes a worker: what people ask for, and not what the operator itself wrote."""

import asyncio
from types import SimpleNamespace

import kopf
import pytest
from aurora_operator import handlers
from aurora_operator.clients.versions import Versions


class Woken:
    def __init__(self):
        self.names = []

    def wake(self, name):
        self.names.append(str(name))


def tell(memo, kind="MODIFIED", generation=1, **annotations):
    meta = SimpleNamespace(get={"uid": "u", "generation": generation}.get, annotations=annotations)
    asyncio.run(handlers.changed(memo=memo, event={"type": kind}, namespace="ns", name="chat", meta=meta))


def test_a_status_wakes_nobody_and_everything_else_does():
    memo = kopf.Memo(controller=Woken(), versions=Versions())
    tell(memo, "ADDED")
    for _ in range(3):
        tell(memo)
    assert memo.controller.names == ["ns/chat"]
    tell(memo, generation=2)
    tell(memo, generation=2, **{"aurora-operator.io/promote": "4"})
    tell(memo, generation=2)
    tell(memo, "DELETED", generation=2)
    assert memo.controller.names == ["ns/chat"] * 5


def test_the_liveness_endpoint_fails_while_reconciling_stands_still():
    memo = kopf.Memo(controller=SimpleNamespace(stalled_seconds=lambda: 10.0))
    assert asyncio.run(handlers.reconciling(memo=memo))
    memo.controller.stalled_seconds = lambda: 1000.0
    with pytest.raises(kopf.PermanentError, match="no reconcile ended for 1000 s"):
        asyncio.run(handlers.reconciling(memo=memo))
