"""Threads shared by namespaces: what hangs in one takes none from another."""

import threading
from concurrent.futures import wait
from functools import partial

from aurora_operator.workers import FairWorkers


def test_a_namespace_whose_tasks_all_hang_leaves_threads_for_others():
    workers, release = FairWorkers(6, 2, "test"), threading.Event()
    hanging = [workers.submit(f"slow-{i % 2}", partial(release.wait, 20)) for i in range(200)]
    try:
        found = [workers.submit("quick", partial(int, i)) for i in range(50)]
        assert [one.result(10) for one in found] == list(range(50))
        assert not any(one.done() for one in hanging)
        assert sum(one.running() for one in hanging) == 4
    finally:
        release.set()
        workers.close()


def test_a_free_thread_goes_to_the_namespace_with_the_fewest_running():
    workers, release, order = FairWorkers(1, 1, "test"), threading.Event(), []
    first = workers.submit("a", partial(release.wait, 20))
    later = [workers.submit(name, partial(order.append, name)) for name in ("a", "a", "a", "b", "c", "b")]
    release.set()
    for one in (first, *later):
        one.result(10)
    workers.close()
    assert sorted(order[:3]) == ["a", "b", "c"]


def test_what_is_first_waits_for_nothing_else_of_its_namespace():
    workers, release, order = FairWorkers(1, 1, "test"), threading.Event(), []
    workers.submit("a", partial(release.wait, 20))
    waiting = [workers.submit("a", partial(order.append, i)) for i in range(100)]
    changed = workers.submit("a", partial(order.append, "changed"), first=True)
    release.set()
    wait([*waiting, changed], 20)
    assert order == ["changed", *range(100)]


def test_what_a_task_fails_with_belongs_to_whoever_waits_and_what_was_cancelled_is_not_run():
    workers, release = FairWorkers(1, 1, "test"), threading.Event()
    workers.submit("a", partial(release.wait, 20))
    failing, cancelled = workers.submit("a", partial(int, "x")), workers.submit("a", release.clear)
    assert cancelled.cancel()
    release.set()
    assert isinstance(failing.exception(10), ValueError)
    assert workers.submit("b", release.is_set).result(10)
    workers.close()
