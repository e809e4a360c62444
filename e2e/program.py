"""A program of others as a process of a test, with a log of its own."""

import subprocess
from typing import Self

import httpx
from workshop.waiting import wait


class Program:
    """A process that answers at some URL once it is ready."""

    def __init__(self, log, process):
        self.log, self._process = log, process

    @classmethod
    def start(cls, folder, name, *command, env=None) -> Self:
        """Start it in a folder, with a log there; ``env`` is all of its environment."""
        log = folder / f"{name}.log"
        with log.open("wb") as file:
            words = [str(part) for part in command]
            return cls(log, subprocess.Popen(words, stdout=file, stderr=file, cwd=folder, env=env))

    def tail(self):
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:]

    def lives(self):
        """Fails where it has ended."""
        assert self._process.poll() is None, self.tail()

    def ready(self, url, seconds=60, **options):
        """Wait until it is; options are httpx's."""

        def answers():
            self.lives()
            try:
                return httpx.get(url, **options).status_code == httpx.codes.OK
            except httpx.HTTPError:
                return False

        wait(url, answers, seconds, state=self.tail)

    def stop(self):
        """End it."""
        self._process.kill()
        self._process.wait()
