"""One worker for each resource: it outlives whatever a reconcile fails with, and reconciles of others."""

import asyncio
import threading
import time

from aurora_operator.controller import OF_A_NAMESPACE, Controller, Name
from aurora_operator.errors import ClusterError

CHAT, CODE = Name("ns", "chat"), Name("ns", "code")


def run(reconcile, *names, until):
    """Wake these, and end when the event is set."""

    async def loop():
        controller = Controller(reconcile)
        for name in names:
            controller.wake(name)
        assert await asyncio.to_thread(until.wait, 10)
        await controller.close()

    asyncio.run(loop())


def test_a_reconcile_that_fails_is_tried_again_whatever_it_failed_with(caplog):
    errors, done = [ClusterError("no answer"), KeyError("spec")], threading.Event()

    def reconcile(_):
        if errors:
            raise errors.pop(0)
        done.set()

    run(reconcile, CHAT, until=done)
    assert "ns/chat: no answer" in caplog.text
    assert "KeyError: 'spec'" in caplog.text
    assert "Traceback" in caplog.text


def test_a_reconcile_that_hangs_keeps_no_other_resource_waiting():
    done, reconciles, ended = threading.Event(), [], []

    def reconcile(name):
        if name.namespace == "slow":
            done.wait(10)
            ended.append(name)
        else:
            reconciles.append(name)
            if len(reconciles) == 3:
                assert ended == []
                done.set()
        return 0.01

    run(reconcile, *(Name("slow", str(i)) for i in range(40)), CODE, until=done)
    assert reconciles[:3] == [CODE] * 3


def test_a_resource_is_never_reconciled_twice_at_once_and_a_burst_is_one_reconcile():
    running, most, reconciles = [0], [0], []

    def reconcile(name):
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.05)
        running[0] -= 1
        reconciles.append(name)
        return 60.0

    async def loop():
        controller = Controller(reconcile)
        for _ in range(100):
            controller.wake(CHAT)
        await asyncio.sleep(0.2)
        for _ in range(100):
            controller.wake(CHAT)
        await asyncio.sleep(0.6)
        await controller.close()

    asyncio.run(loop())
    assert (most, len(reconciles)) == ([1], 2)


def test_the_worker_of_a_resource_that_is_gone_ends_and_one_that_comes_again_is_reconciled():
    reconciles = []

    async def loop():
        controller = Controller(reconciles.append)
        for _ in range(2):
            controller.wake(CHAT)
            await asyncio.sleep(0.2)
        await controller.close()

    asyncio.run(loop())
    assert reconciles == [CHAT, CHAT]


def test_a_resource_that_comes_again_while_its_end_is_being_reconciled_is_not_forgotten():
    running, again, done = threading.Event(), threading.Event(), threading.Event()

    def reconcile(_):
        if again.is_set():
            done.set()
            return 60.0
        running.set()
        again.wait(10)
        return None

    async def loop():
        controller = Controller(reconcile)
        controller.wake(CHAT)
        assert await asyncio.to_thread(running.wait, 10)
        controller.wake(CHAT)
        again.set()
        assert await asyncio.to_thread(done.wait, 10)
        await controller.close()

    asyncio.run(loop())


def test_it_is_stalled_only_while_something_is_due_and_nothing_ends():
    free, running = threading.Event(), threading.Event()

    def reconcile(_):
        running.set()
        free.wait(10)
        return 60.0

    async def loop():
        controller = Controller(reconcile)
        assert controller.stalled_seconds() == 0
        controller.wake(CHAT)
        assert await asyncio.to_thread(running.wait, 10)
        now = time.monotonic()
        assert 999 < controller.stalled_seconds(now + 1000) < 1010
        free.set()
        for _ in range(1000):
            if not controller.stalled_seconds(now + 1000):
                break
            await asyncio.sleep(0.01)
        assert not controller.stalled_seconds(now + 1000)
        await controller.close()

    asyncio.run(loop())


def test_one_namespace_that_hangs_takes_no_more_than_its_share_of_the_threads():
    done, hanging, found = threading.Event(), [], []

    def reconcile(name):
        if name.namespace == "slow":
            hanging.append(name)
            done.wait(10)
        elif not done.is_set():
            found.append(len(hanging))
            done.set()
        return 60.0

    run(reconcile, *(Name("slow", str(i)) for i in range(500)), CODE, until=done)
    assert found[0] <= OF_A_NAMESPACE
