"""Requests, sent with a fixed concurrency; each answered one is recorded."""

import asyncio
import itertools
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import httpx

from aurora_core.protocol.request import NOT_CAPTURED

PROBE = "aurora-probe-"
"""What the ids of requests begin with that only measure."""


@dataclass(frozen=True)
class Answer:
    """An answered request.

    Attributes:
        ended: time.monotonic() when it ended.
        seconds: how long it took.
        ids: the answer's tokens.
        cycles: verify cycles, 0 without speculation.
        accepted: draft tokens accepted in them.
    """

    prompt: str
    ended: float
    seconds: float
    ids: tuple[int, ...]
    cycles: int
    accepted: int


@dataclass
class Record:
    """All answers so far, and the failures."""

    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def accept_length(answers: Iterable[Answer]) -> float:
    """Tokens per verify cycle, by the engine's own metadata; 1 where there was no cycle."""
    pairs = [(a.accepted + a.cycles, a.cycles) for a in answers]
    cycles = sum(v for _, v in pairs)
    return sum(t for t, _ in pairs) / cycles if cycles else 1.0


async def _ask(client: httpx.AsyncClient, text: str, rid: str, max_new_tokens: int, record: Record) -> None:
    sampling: dict[str, object] = {"temperature": 0, "max_new_tokens": max_new_tokens}
    if rid.startswith(PROBE):
        sampling["custom_params"] = dict(NOT_CAPTURED)
    body = {"text": text, "rid": rid, "sampling_params": sampling}
    started = time.monotonic()
    try:
        response = await client.post("/generate", json=body)
        response.raise_for_status()
        answer = response.json()
        meta = answer["meta_info"]
        finish = meta["finish_reason"]["type"]
        ids = tuple(answer["output_ids"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        record.failures.append(f"{rid}: {type(error).__name__} {error}")
        return
    if finish == "abort":
        record.failures.append(f"{rid}: aborted by the engine")
        return
    now = time.monotonic()
    cycles, accepted = int(meta.get("spec_verify_ct", 0)), int(meta.get("spec_num_correct_drafts", 0))
    record.answers.append(Answer(text, now, now - started, ids, cycles, accepted))


async def _drain(
    url: str,
    texts: Iterator[str],
    concurrency: int,
    max_new_tokens: int,
    prefix: str,
    record: Record,
    stop: threading.Event,
) -> None:
    numbers = itertools.count()
    run = f"{time.time_ns():x}"
    # A Service deals connections to pods, so each request has one of its own.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:

        async def work() -> None:
            while not stop.is_set():
                text = next(texts, None)
                if text is None:
                    return
                failed = len(record.failures)
                await _ask(client, text, f"{prefix}{run}-{next(numbers)}", max_new_tokens, record)
                if len(record.failures) > failed:
                    await asyncio.sleep(0.5)

        await asyncio.gather(*(work() for _ in range(concurrency)))


@dataclass(frozen=True)
class Measured:
    """A finished measurement.

    Attributes:
        tokens_per_second: answer tokens over wall time.
        accept_length: tokens per verify cycle.
        answers: every answer, by prompt.
        failures: what went wrong.
    """

    tokens_per_second: float
    accept_length: float
    answers: dict[str, Answer]
    failures: tuple[str, ...]

    @property
    def ids(self) -> dict[str, tuple[int, ...]]:
        """Token ids of the answers, by prompt."""
        return {prompt: answer.ids for prompt, answer in self.answers.items()}


def measure(url: str, texts: Sequence[str], concurrency: int, max_new_tokens: int, prefix: str = PROBE) -> Measured:
    """Ask every prompt once and say how fast that went; with the usual prefix of ids the requests are not captured."""
    record = Record()
    started = time.monotonic()
    asyncio.run(_drain(url, iter(texts), concurrency, max_new_tokens, prefix, record, threading.Event()))
    seconds = time.monotonic() - started
    tokens = sum(len(a.ids) for a in record.answers)
    by_prompt = {a.prompt: a for a in record.answers}
    return Measured(tokens / seconds, accept_length(record.answers), by_prompt, tuple(record.failures))


class Stream:
    """Endless traffic in the background."""

    def __init__(self, url: str, texts: Sequence[str], concurrency: int, max_new_tokens: int) -> None:
        self.record = Record()
        self._stop = threading.Event()
        arguments = (url, itertools.cycle(texts), concurrency, max_new_tokens, "traffic-", self.record, self._stop)
        self._thread = threading.Thread(target=lambda: asyncio.run(_drain(*arguments)), daemon=True)

    @classmethod
    def start(cls, url: str, texts: Sequence[str], concurrency: int, max_new_tokens: int) -> Self:
        """Begin to send, to an engine's URL, so many requests at a time."""
        stream = cls(url, texts, concurrency, max_new_tokens)
        stream._thread.start()
        return stream

    def stop(self) -> Record:
        """Let running requests end, and return what happened."""
        self._stop.set()
        self._thread.join()
        return self.record
