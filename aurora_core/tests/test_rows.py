import random
from types import SimpleNamespace

import torch
from aurora_core.arithmetic import STATE_DTYPES
from aurora_core.engine.capture import Capture, Chance, Staged, front_order
from aurora_core.engine.rows import RowPool
from aurora_core.engine.runtime import Runtime
from aurora_core.engine.sender import Sender
from aurora_core.samples.schema import decode
from hypothesis import given, settings
from hypothesis import strategies as st


def state_of(token, position, width):
    return torch.arange(width) + 100.0 * token + position


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_rows_follow_tokens_through_chunks_prefixes_and_reuse(seed):
    """An allocator that shares prefixes and reuses slots, as an engine's does, never mixes rows up."""
    rng = random.Random(seed)
    pool = RowPool(64, 6, 2, torch.float32)
    free = list(range(64))
    rng.shuffle(free)
    kept = []  # (tokens, slots) of finished requests, whose prefixes are shared
    for _ in range(12):
        prefix = rng.choice(kept) if kept and rng.random() < 0.5 else ([], [])
        shared = rng.randrange(len(prefix[0]) + 1)
        tokens, slots = list(prefix[0][:shared]), list(prefix[1][:shared])
        fresh = [rng.randrange(50) for _ in range(rng.randrange(1, 8))]
        while len(free) < len(fresh):
            gone = kept.pop(0)
            used = {s for _, ss in kept for s in ss} | set(slots)
            free += [s for s in gone[1] if s not in used]
        own = [free.pop() for _ in fresh]
        at = 0
        while at < len(fresh):  # chunked prefill, or decoding a token at a time
            n = rng.randrange(1, len(fresh) - at + 1)
            positions = range(len(tokens) + at, len(tokens) + at + n)
            rows = torch.stack([state_of(t, p, 8) for t, p in zip(fresh[at : at + n], positions, strict=True)])
            pool.put(torch.tensor(own[at : at + n]), torch.tensor(fresh[at : at + n]), rows[:, :6], rows[:, 6:])
            at += n
        tokens, slots = tokens + fresh, slots + own
        assert pool.known(torch.tensor(slots), torch.tensor(tokens)) == len(tokens)
        aux, last = pool.take(torch.tensor(slots))
        expected = torch.stack([state_of(t, p, 8) for p, t in enumerate(tokens)])
        assert torch.equal(torch.cat([aux, last], 1), expected)
        kept.append((tokens, slots))


def test_rows_that_were_never_captured_are_missing_and_not_made_up():
    pool = RowPool(8, 3, 1, torch.float32)
    pool.put(torch.tensor([0, 1]), torch.tensor([7, 8]), torch.zeros(2, 3), torch.zeros(2, 1))
    assert pool.known(torch.tensor([2, 0, 1]), torch.tensor([9, 7, 8])) == 2
    assert pool.known(torch.tensor([0, 1]), torch.tensor([9, 8])) == 1
    pool.forget(torch.tensor([1]))
    assert pool.known(torch.tensor([0, 1]), torch.tensor([7, 8])) == 0


def test_front_order_brings_the_accepted_path_to_the_front():
    accept = torch.tensor([[0, 2, -1], [5, 7, 9]])
    assert front_order(accept, 10).tolist() == [0, 2, 2, 3, 4, 5, 7, 9, 8, 9]


def test_the_sample_rate_chooses_a_share_of_requests_as_if_by_chance():
    one, other = Chance(b"a"), Chance(b"b")
    ids = [f"request-{i}" for i in range(10_000)]
    few = {i for i in ids if one.takes(i, 0.3)}
    # Five standard deviations.
    assert abs(len(few) / len(ids) - 0.3) < 0.023
    assert few == {i for i in ids if one.takes(i, 0.3)} < {i for i in ids if one.takes(i, 0.4)}
    assert abs(len(few & {i for i in ids if other.takes(i, 0.3)}) / len(ids) - 0.09) < 0.015
    assert not any(one.takes(i, 0.0) for i in ids)
    assert all(one.takes(i, 1.0) for i in ids)


def test_no_id_of_a_request_keeps_it_from_being_captured():
    sink = Sink()
    capture, sender = make_capture(sink)
    feed(capture, [3, 4, 5], [10, 11, 12])
    for request in ("aurora-probe-1", "", "x" * 5000):
        capture.collect(request, torch.tensor([10, 11, 12, 13]), 2, torch.tensor([3, 4, 5]), 7)
    sender.close()
    assert len(sink.got) == 3


def test_while_nobody_takes_samples_requests_are_counted_as_paused_and_their_rows_are_left_alone():
    sink = Sink()
    capture, sender = make_capture(sink)
    feed(capture, [3, 4, 5], [10, 11, 12])
    for _ in range(3):
        sender.pace.refused("store_lost", "no route")
    capture.collect("a", torch.tensor([10, 11, 12, 13]), 2, torch.tensor([3, 4, 5]), 7)
    sender.close()
    assert (dict(sender.dropped), sink.got) == ({"paused": 1}, [])


def test_while_the_store_is_full_about_half_of_the_requests_are_passed_over_and_counted():
    sink = Sink()
    capture, sender = make_capture(sink, queue=1000)
    feed(capture, [3, 4, 5], [10, 11, 12])
    sender.pace.refused("store_full")
    for at in range(400):
        capture.collect(str(at), torch.tensor([10, 11, 12, 13]), 2, torch.tensor([3, 4, 5]), 7)
    sender.close()
    # Six standard deviations, and what the share has risen by meanwhile.
    assert 100 < sender.dropped["slowed"] < 260
    assert sender.sent["samples"] == 400 - sender.dropped["slowed"]


class Output:
    def __init__(self, aux, last):
        self.hidden_states, self.last_hidden_states = aux, last


class Sink:
    def __init__(self):
        self.got = []

    def put(self, name, payload):
        self.got.append((name, payload))

    def close(self):
        self.closed = True


def make_capture(sink, **changes):
    sender = Sender(lambda: sink, torch.float32, changes.pop("queue", 8))
    sender.start()
    return Capture(sender, target="t", rate=1.0, max_tokens=changes.pop("max_tokens", 100)), sender


def feed(capture, slots, tokens, accept_index=None, requests=None):
    rows = torch.arange(len(slots)).float()[:, None]
    output = Output(rows.expand(-1, 6), rows.expand(-1, 2))
    capture.stage(output, torch.tensor(slots), torch.tensor(tokens), requests or [("a", len(slots))], 32)
    capture.commit(output, accept_index)
    return output


class Only:
    """In the place of chance."""

    def __init__(self, *names):
        self.names = names

    def takes(self, request, rate):
        return request.removeprefix("pace/") in self.names and rate > 0


def test_a_finished_request_becomes_a_sample_once_all_its_rows_are_there():
    sink = Sink()
    capture, sender = make_capture(sink)
    feed(capture, [3, 4, 5], [10, 11, 12])
    capture.collect("a", torch.tensor([10, 11, 12, 13]), 2, torch.tensor([3, 4, 5]), 7)
    capture.collect("b", torch.tensor([10, 11, 99, 13]), 2, torch.tensor([3, 4, 5]), 7)
    capture.collect("c", torch.tensor([10, 11]), 1, torch.tensor([3]), 7)
    sender.close()
    assert len(sink.got) == 1
    assert sender.sent["samples"] == 1
    assert dict(sender.dropped) == {"rows_missing": 1, "answer_too_short": 1}


def test_a_pass_whose_shapes_do_not_fit_is_counted_and_left_out():
    capture, sender = make_capture(Sink())
    output = Output(torch.ones(3, 6), torch.ones(3, 2))
    two = torch.tensor([1, 2])
    capture.stage(output, two, two, [("a", 2)], 32)
    capture.stage(Output(torch.ones(2, 6), torch.ones(2, 2)), two, two, [("a", 1)], 32)
    capture.stage(Output(None, None), torch.tensor([1]), torch.tensor([1]), [("a", 1)], 32)
    assert dict(capture.mismatches) == {"rows": 2, "not_captured": 1}
    assert capture.pool is None
    sender.close()


def test_a_staged_pass_is_committed_once():
    capture, sender = make_capture(Sink())
    output = feed(capture, [1], [5])
    assert not any(isinstance(v, Staged) for v in vars(output).values())
    capture.commit(output, None)
    sender.close()


def test_nothing_is_copied_of_requests_that_are_not_captured_and_their_slots_hold_nothing():
    sink = Sink()
    capture, sender = make_capture(sink)
    capture._chance = Only("mine", "late")
    feed(capture, [1, 2, 3, 4, 5], [11, 12, 13, 14, 15], requests=[("other", 2), ("mine", 3)])
    aux, _ = capture.pool.take(torch.tensor([3, 4, 5]))
    assert aux[:, 0].tolist() == [2, 3, 4]
    assert capture.pool.known(torch.tensor([1, 2]), torch.tensor([11, 12])) == 0
    capture.collect("other", torch.tensor([11, 12, 13]), 1, torch.tensor([1, 2]), 0)
    # Its prompt of four begins with what the other one had cached.
    feed(capture, [6, 7, 8], [16, 17, 18], requests=[("late", 3)])
    capture.collect("late", torch.tensor([11, 12, 16, 17, 18, 19]), 4, torch.tensor([1, 2, 6, 7, 8]), 0)
    feed(capture, [3], [13], requests=[("other", 1)])
    capture.collect("mine", torch.tensor([13, 14, 15, 19]), 1, torch.tensor([3, 4, 5]), 0)
    sender.close()
    (_, payload), *more = sink.got
    sample = decode(payload, target="t", vocab_size=32, aux_width=6, hidden=2, dtypes=STATE_DTYPES)
    assert (more, capture.cut, dict(sender.dropped)) == ([], 1, {"rows_missing": 1})
    assert (sample.tokens.tolist(), sample.prompt_tokens) == ([16, 17, 18, 19], 2)
    assert sample.last[:, 0].tolist() == [0, 1, 2]


def test_what_was_captured_is_forgotten_where_capture_is_off_meanwhile():
    capture, sender = make_capture(Sink())
    feed(capture, [1, 2], [11, 12])
    capture.rate = 0.0
    feed(capture, [2, 3], [12, 13])
    assert capture.pool.known(torch.tensor([1]), torch.tensor([11])) == 1
    assert capture.pool.known(torch.tensor([2]), torch.tensor([12])) == 0
    sender.close()


def test_a_tree_of_some_requests_is_put_in_its_accepted_order():
    capture, sender = make_capture(Sink())
    capture._chance = Only("mine")
    slots, tokens = [1, 2, 3, 4, 5, 6], [11, 12, 13, 14, 15, 16]
    accept = torch.tensor([[0, 2], [3, 5]])
    feed(capture, slots, tokens, accept, [("other", 3), ("mine", 3)])
    aux, _ = capture.pool.take(torch.tensor([4, 5]))
    assert aux[:, 0].tolist() == [3, 5]
    assert capture.pool.known(torch.tensor([4, 5]), torch.tensor([14, 16])) == 2
    assert capture.pool.known(torch.tensor([1]), torch.tensor([11])) == 0
    sender.close()


def test_every_slot_of_the_full_kv_pool_has_a_row_also_where_layers_with_a_window_have_fewer():
    runtime = Runtime.__new__(Runtime)
    runtime.swap = SimpleNamespace(state=SimpleNamespace(live=0))
    runtime.capture = Capture(SimpleNamespace(), target="t", rate=1.0, max_tokens=8)
    allocator = SimpleNamespace(size=80, size_full=100)
    runner = SimpleNamespace(token_to_kv_pool_allocator=allocator, page_size=1, lora_manager=None)
    worker = SimpleNamespace(is_draft_worker=False, model_runner=runner)
    output = SimpleNamespace(hidden_states=torch.ones(1, 6), last_hidden_states=torch.ones(1, 2))
    source = SimpleNamespace(
        forward_mode=SimpleNamespace(is_idle=lambda: False, is_extend_without_speculative=lambda: False),
        rids=["a"],
        out_cache_loc=torch.tensor([100]),
        input_ids=torch.tensor([7]),
    )
    runtime.forwarded(worker, SimpleNamespace(logits_output=output), source, capture=True)
    runtime.capture.commit(output, None)
    assert runtime.capture.pool.known(torch.tensor([100]), torch.tensor([7])) == 1
