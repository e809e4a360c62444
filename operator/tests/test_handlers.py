"""What wakes a worker: what people ask for, and not what the operator itself wrote."""

import asyncio
from types import SimpleNamespace

import kopf
from aurora_operator import handlers


class Woken:
    def __init__(self):
        self.names = []

    def wake(self, name):
        self.names.append(str(name))


def tell(memo, kind="MODIFIED", generation=1, **annotations):
    meta = SimpleNamespace(get={"uid": "u", "generation": generation}.get, annotations=annotations)
    asyncio.run(handlers.changed(memo=memo, event={"type": kind}, namespace="ns", name="chat", meta=meta))


def test_a_status_wakes_nobody_and_everything_else_does():
    memo = kopf.Memo(controller=Woken())
    tell(memo, "ADDED")
    for _ in range(3):
        tell(memo)
    assert memo.controller.names == ["ns/chat"]
    tell(memo, generation=2)
    tell(memo, generation=2, **{"aurora-operator.io/promote": "4"})
    tell(memo, generation=2)
    tell(memo, "DELETED", generation=2)
    assert memo.controller.names == ["ns/chat"] * 5
