"""Conversations of a data set, asked of the engines beside users, who go first.

A request of the data set starts only while users leave room: users' requests, running or waiting, and those of the data
set are together at most as many as the data set alone may have. One that runs already runs to its end.
"""

import asyncio
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from tqdm import tqdm

from aurora_core.datasets import generation
from aurora_core.datasets.conversations import Conversation
from aurora_core.datasets.generation import PATIENCE_SECONDS, Requesting
from aurora_core.errors import ConfigError

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.25
_AGAIN_SECONDS = 1.0
_MOST_TRIES = 3


@dataclass(frozen=True)
class Asked:
    """What the command was asked of a data set.

    Attributes:
        conversations: whose users' messages are answered.
        requesting: how; its URL is set once the engines' is known.
        until_trained: whether to end once all are answered and trained on.
    """

    conversations: Sequence[Conversation]
    requesting: Requesting
    until_trained: bool = False


class Room:
    """What users leave of the requests that a data set may have at a time; an ``async with`` is one of its requests.

    Engines say how many requests they have, not whose. Those of the data set that ran all the time while they were
    asked are taken off; one that begins meanwhile counts as a user's, and room is used once it was seen twice.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = asyncio.Condition()
        self._users = self._before = most
        self._settled = 0
        self.running = 0

    @property
    def users(self) -> int:
        """Users' requests, as they were seen last; as many as leave no room before they were seen."""
        return self._users

    def polled(self) -> None:
        """Engines are asked now."""
        self._settled = self.running

    async def seen(self, requests: int | None) -> None:
        """Take in how many requests engines have; None where they do not say, which leaves no room."""
        async with self._changed:
            now = self._most if requests is None else max(0, requests - self._settled)
            self._users, self._before = max(now, self._before), now
            self._changed.notify_all()

    async def __aenter__(self) -> Self:
        """Wait for room, and take it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.running + self._users < self._most)
            self.running += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave it to another one."""
        async with self._changed:
            self.running -= 1
            self._settled = max(0, self._settled - 1)
            self._changed.notify_all()


async def load(client: httpx.AsyncClient, engine: str) -> int | None:
    """Requests that an engine runs, and those that wait in it; None where it does not say.

    Args:
        client: with the admin key.
        engine: its URL.
    """
    try:
        response = await client.get(f"{engine}/v1/loads", params={"include": "core"}, timeout=5)
        response.raise_for_status()
        return sum(int(one["num_running_reqs"]) + int(one["num_waiting_reqs"]) for one in response.json()["loads"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


@dataclass
class Feed:
    """Asks the engines, in a thread of its own.

    Attributes:
        asked: what to ask.
        url: where users' requests go.
        engines: URL of each engine.
        kept: file of the ids that were answered, a line each; those are not asked again.
        answered: conversations that were answered, in earlier runs too.
        failed: those that were given up, after some tries each.
        why: what went wrong with the last one.
        done: whether nothing is left to ask.
    """

    asked: Asked
    url: str
    engines: Sequence[str]
    kept: Path
    answered: int = 0
    failed: int = 0
    why: str = ""
    done: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _room: Room | None = None

    _left: list[tuple[Conversation, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="aurora-prompts", daemon=True)

    def start(self) -> None:
        """Begin with what no earlier run has answered.

        Raises:
            ConfigError: the file of what was answered cannot be read.
        """
        try:
            before = set(self.kept.read_text(encoding="utf-8").splitlines()) if self.kept.exists() else set()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.kept} cannot be read: {error}") from error
        self._left = [(one, 1) for one in self.asked.conversations if one.id not in before]
        self.answered = len(self.asked.conversations) - len(self._left)
        self._thread.start()

    def stop(self) -> None:
        """Ask nothing more; what runs is given up, and asked again by the next run."""
        self._stop.set()
        self._thread.join()

    def summary(self) -> str:
        """Where it is, for a line."""
        room, everything = self._room, len(self.asked.conversations)
        parts = [f"prompts: {self.answered} of {everything} answered", f"{room.running if room else 0} under way"]
        if self.failed:
            parts.append(f"{self.failed} failed ({self.why})")
        if room is not None and not self.done and room.users >= self.asked.requesting.concurrency:
            parts.append("held back by users")
        return ", ".join(parts)

    def _run(self) -> None:
        try:
            asyncio.run(self._ask())
        except ConfigError as error:
            self.why = str(error)
            log.warning("no prompts are asked any more: %s", error)

    async def _ask(self) -> None:
        requesting = self.asked.requesting
        headers = {"Authorization": f"Bearer {requesting.api_key}"} if requesting.api_key else {}
        self._room = room = Room(requesting.concurrency)
        everything = len(self.asked.conversations)
        bar: tqdm[Any] = tqdm(total=everything, initial=self.answered, desc="prompts", disable=None)
        # On this machine alone, so by no proxy that the environment names.
        async with httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False
        ) as client:
            polling = asyncio.create_task(self._poll(client, room))
            workers = [asyncio.create_task(self._work(client, room, bar)) for _ in range(requesting.concurrency)]
            finished = asyncio.gather(*workers)
            stopped = asyncio.create_task(self._stopped())
            await asyncio.wait((finished, stopped), return_when=asyncio.FIRST_COMPLETED)
            for task in (polling, stopped, *workers):
                task.cancel()
            found = await asyncio.gather(finished, polling, stopped, return_exceptions=True)
        bar.close()
        if isinstance(found[0], ConfigError):
            raise found[0]
        self.done = not self._stop.is_set()

    async def _stopped(self) -> None:
        while not self._stop.is_set():  # noqa: ASYNC110 (another thread sets it)
            await asyncio.sleep(_POLL_SECONDS)

    async def _poll(self, client: httpx.AsyncClient, room: Room) -> None:
        while True:
            room.polled()
            loads = await asyncio.gather(*(load(client, engine) for engine in self.engines))
            known = [one for one in loads if one is not None]
            await room.seen(sum(known) if known else None)
            await asyncio.sleep(_POLL_SECONDS)

    async def _work(self, client: httpx.AsyncClient, room: Room, bar: "tqdm[Any]") -> None:
        requesting, model = self.asked.requesting, self.asked.requesting.model
        while self._left:
            conversation, tries = self._left.pop(0)
            try:
                if not model:
                    async with room:
                        model = await generation.served_model(client)
                await generation.answer(client, conversation, requesting, model, room)
            except generation.FAILURES as error:
                self.why = f"{conversation.id}: {type(error).__name__} {error}"
                if tries < _MOST_TRIES and (not model or isinstance(error, httpx.HTTPError)):
                    self._left.append((conversation, tries + 1))
                    await asyncio.sleep(_AGAIN_SECONDS)
                    continue
                self.failed += 1
                log.warning("a prompt is given up: %s", self.why)
            else:
                self.answered += 1
                self._keep(conversation.id)
            bar.update(1)

    def _keep(self, answered: str) -> None:
        try:
            with self.kept.open("a", encoding="utf-8") as file:
                file.write(answered + "\n")
        except OSError as error:
            raise ConfigError(f"{self.kept} cannot be written: {error.strerror}") from error
