"""Ranks that meet at the first one's actor: not before all wait, and nowhere but at its store."""

import threading

import torch
from aurora_core.online.meeting import Meeting, Roll, listening
from hypothesis import given
from hypothesis import strategies as st

HERE = Meeting("127.0.0.1", 1)


def test_ranks_are_sent_nowhere_before_all_of_them_wait():
    roll = Roll(3)
    assert roll.missing(0.0) == [1, 2]
    assert roll.ask(1, 10.0) is None
    assert roll.missing(10.0) == [2]
    assert roll.ask(2, 11.0) is None
    assert roll.missing(11.0) == []
    roll.open(HERE)
    assert (roll.ask(1, 12.0), roll.ask(2, 12.0)) == (HERE, HERE)


def test_a_rank_that_asked_long_ago_is_missing_again():
    roll = Roll(2)
    roll.ask(1, 10.0)
    assert roll.missing(14.0) == []
    assert roll.missing(16.0) == [1]


def test_a_rank_that_starts_late_is_not_sent_to_a_group_that_is_complete():
    roll = Roll(2)
    roll.open(HERE)
    roll.close()
    assert roll.ask(1, 0.0) is None


@given(st.lists(st.tuples(st.integers(1, 3), st.floats(0, 100)), max_size=20), st.floats(0, 100))
def test_who_is_missing_is_who_did_not_ask_lately(asked, now):
    roll = Roll(4)
    last = {}
    for rank, at in sorted(asked, key=lambda one: one[1]):
        roll.ask(rank, at)
        last[rank] = at
    assert roll.missing(now) == [rank for rank in (1, 2, 3) if now - last.get(rank, float("-inf")) > 5]


def test_a_local_store_listens_on_the_loopback_alone():
    meeting, server = listening(local=True)
    assert server.getsockname() == (meeting.address, meeting.port) == ("127.0.0.1", meeting.port)
    store = torch.distributed.TCPStore(
        meeting.address, meeting.port, 2, is_master=True, wait_for_workers=False, master_listen_fd=server.detach()
    )
    other = []

    def join():
        other.append(torch.distributed.TCPStore(meeting.address, meeting.port, 2, wait_for_workers=False))
        other[0].set("came", "yes")

    thread = threading.Thread(target=join)
    thread.start()
    assert store.get("came") == b"yes"
    thread.join()
