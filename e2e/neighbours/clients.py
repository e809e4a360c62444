"""Clients of a router that send one request after another, and what became of each request."""

import http.client
import json
import math
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from routed_pods import PIECES

CLIENTS, STREAMS = 8, 6
_THINK_SECONDS = 0.08
_TIMEOUT_SECONDS = 60
Z = 2.5758
"""Of an interval of 99 %."""


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        sent, done: moments.
        problem: why it has no answer, or no complete one; empty where it has one.
        pod, version: of the answer; a stream says no version.
    """

    sent: float
    done: float
    problem: str
    pod: str = ""
    version: int | None = None


class Clients:
    """Some that ask again and again over one connection each, and some that read answers in pieces."""

    def __init__(self, url):
        self._place, self._stop = urlsplit(url).netloc, threading.Event()
        self._asked, self._streamed = [], []
        works = [self._asks] * CLIENTS + [self._streams] * STREAMS
        self._threads = [threading.Thread(target=work, args=(at,)) for at, work in enumerate(works)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def asked(self, since, until=math.inf):
        """Requests that were sent between two moments, and ended."""
        return [one for one in list(self._asked) if since <= one.sent < until]

    def streamed(self):
        """All answers in pieces that ended."""
        return list(self._streamed)

    def _asks(self, _):
        connection = http.client.HTTPConnection(self._place, timeout=_TIMEOUT_SECONDS)
        body = json.dumps({"text": "Why?"})
        while not self._stop.wait(_THINK_SECONDS):
            sent = time.time()
            try:
                connection.request("POST", "/generate", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
                found = json.loads(text) if answer.status == http.client.OK else {}
                problem = "" if found else f"{answer.status} {text[:100]!r}"
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                found, problem = {}, repr(error)
            self._asked.append(Asked(sent, time.time(), problem, **found))
        connection.close()

    def _streams(self, at):
        # Not all at the same moment.
        self._stop.wait(at)
        while not self._stop.is_set():
            connection, sent, lines = http.client.HTTPConnection(self._place, timeout=_TIMEOUT_SECONDS), time.time(), []
            try:
                connection.request("GET", "/stream")
                answer = connection.getresponse()
                lines = answer.read().decode().split("\n\n")[:-1]
                pods = {line.split()[-1] for line in lines}
                complete = answer.status == http.client.OK and len(lines) == PIECES and len(pods) == 1
                problem = "" if complete else f"{answer.status}: {len(lines)} pieces of {pods}"
            except (OSError, http.client.HTTPException) as error:
                pods, problem = set(), repr(error)
            finally:
                connection.close()
            self._streamed.append(Asked(sent, time.time(), problem, ",".join(pods)))


def interval(count, total):
    """Wilson's, of 99 %, for a share."""
    share, spread = count / total, Z * Z / total
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / total / 4)
    return middle - half, middle + half
