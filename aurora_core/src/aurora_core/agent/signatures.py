"""Requests to an agent and its answers, each signed with the key that both have: what nobody signed is not believed.

HMAC-SHA256 (RFC 2104). The key itself never travels. A request is signed for one agent, at a time, with a number that
is used once (nonce) and with the digest of its body, so that it cannot be changed, repeated or sent on to another
agent; an answer is signed for the nonce of its request.
"""

import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256

SCHEME = "AURORA-HMAC-SHA256"
ANSWER_HEADER = "aurora-signature"
WINDOW_SECONDS = 300.0
"""By which the clocks of two nodes may differ."""
_AUTHORIZATION = re.compile(
    rf"{SCHEME} time=(?P<time>\d{{1,12}}), nonce=(?P<nonce>[0-9a-f]{{32}}), body=(?P<body>[0-9a-f]{{64}}), "
    r"signature=(?P<signature>[0-9a-f]{64})"
)


def _signature(key: str, *parts: str) -> str:
    """The signature of parts in their order, each with its length, so that no two lists of parts are the same bytes."""
    made = hmac.new(key.encode(), digestmod=sha256)
    for part in parts:
        data = part.encode()
        made.update(len(data).to_bytes(8, "big") + data)
    return made.hexdigest()


@dataclass(frozen=True)
class Signed:
    """What a request carries in its Authorization header.

    Attributes:
        time: seconds since the epoch, by the caller's clock.
        nonce: 32 hexadecimal digits, used once.
        body: SHA-256 of the body.
        signature: of all of them, the agent's name, method and path.
    """

    time: int
    nonce: str
    body: str
    signature: str

    @classmethod
    def read(cls, header: str) -> "Signed | None":
        """A header's content; None where it is not of this form."""
        found = _AUTHORIZATION.fullmatch(header)
        return found and cls(int(found["time"]), found["nonce"], found["body"], found["signature"])

    def header(self) -> str:
        """As the value of an Authorization header."""
        return f"{SCHEME} time={self.time}, nonce={self.nonce}, body={self.body}, signature={self.signature}"


def _of_request(key: str, agent: str, method: str, path: str, signed: Signed) -> str:
    return _signature(key, "request", agent, method, path, str(signed.time), signed.nonce, signed.body)


def sign(key: str, agent: str, method: str, path: str, body: bytes) -> Signed:
    """Sign a request.

    Args:
        key: the key that caller and agent share.
        agent: name of the agent that it is for.
        method: of HTTP.
        path: without a query.
        body: empty where there is none.
    """
    bare = Signed(int(time.time()), secrets.token_hex(16), sha256(body).hexdigest(), "")
    return replace(bare, signature=_of_request(key, agent, method, path, bare))


def sign_answer(key: str, nonce: str, status: int, body: bytes) -> str:
    """Signature of the answer to a request."""
    return _signature(key, "answer", nonce, str(status), sha256(body).hexdigest())


def answer_is_signed(key: str, nonce: str, status: int, body: bytes, signature: str) -> bool:
    """Whether an answer to the request with this nonce was given by someone who has the key."""
    return hmac.compare_digest(sign_answer(key, nonce, status, body).encode(), signature.encode())


class Refused(Exception):  # noqa: N818 (a refusal is an answer, and no error of the agent's)
    """A request that is not to be done; the message says why."""


class Verifier:
    """The agent's end: whether a request may be done, each at most once.

    Args:
        key: the key that caller and agent share.
        agent: this agent's name.
        clock: seconds since the epoch.
    """

    def __init__(self, key: str, agent: str, clock: Callable[[], float] = time.time) -> None:
        self._key, self._agent, self._clock = key, agent, clock
        self._seen: dict[str, int] = {}

    def by_key(self, signed: Signed, method: str, path: str) -> bool:
        """Whether someone who has the key signed it, for this agent. The body is not part of the question yet."""
        right = _of_request(self._key, self._agent, method, path, signed)
        return hmac.compare_digest(right, signed.signature)

    def admit(self, signed: Signed) -> None:
        """Take a request that is signed by key, once.

        Raises:
            Refused: its time is not this node's, or it was taken before.
        """
        now = self._clock()
        off = signed.time - now
        if abs(off) > WINDOW_SECONDS:
            direction = "ahead of" if off > 0 else "behind"
            message = (
                f"the request's time is {abs(off) / 60:.0f} min {direction} the clock of the agent's node, more than "
                f"{WINDOW_SECONDS / 60:.0f} min: set both nodes' clocks (NTP)"
            )
            raise Refused(message)
        # A request can only come again while its time is inside the window, so older ones need not be remembered.
        self._seen = {nonce: at for nonce, at in self._seen.items() if abs(at - now) <= WINDOW_SECONDS}
        if signed.nonce in self._seen:
            message = "the request was answered before: its nonce is used"
            raise Refused(message)
        self._seen[signed.nonce] = signed.time
