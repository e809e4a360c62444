import threading

import pytest
import torch
from aurora_core.engine.sender import Sender
from aurora_core.errors import TransportError


class Stuck:
    def __init__(self):
        self.go = threading.Event()

    def put(self, name, payload):
        self.go.wait()

    def close(self):
        pass


class Failing:
    def put(self, name, payload):
        raise TransportError("spool_full", "no room")

    def close(self):
        pass


def test_a_full_queue_drops_and_counts_and_never_waits(make_sample):
    sink = Stuck()
    sender = Sender(lambda: sink, torch.float32, 2)
    sender.start()
    for i in range(10):
        sender.offer(make_sample(str(i)))
    dropped = sender.dropped["queue_full"]
    assert 7 <= dropped <= 8
    sink.go.set()
    sender.close()
    assert sender.sent["samples"] == 10 - dropped


def test_a_store_that_refuses_is_counted_by_its_reason(make_sample):
    sender = Sender(Failing, torch.float32, 4)
    sender.start()
    sender.offer(make_sample())
    sender.close()
    assert dict(sender.dropped) == {"spool_full": 1}


@pytest.mark.parametrize("error", [TransportError("store_lost", "gone"), ValueError("odd")])
def test_the_sender_lives_on_after_a_failure(make_sample, error):
    class Once:
        failed = False

        def put(self, name, payload):
            if not Once.failed:
                Once.failed = True
                raise error

        def close(self):
            pass

    sender = Sender(Once, torch.float32, 4)
    sender.start()
    sender.offer(make_sample("a"))
    sender.offer(make_sample("b"))
    sender.close()
    assert sender.sent["samples"] == 1
    assert sum(sender.dropped.values()) == 1
