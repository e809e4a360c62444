"""The agent's HTTP interface. All but liveness and metrics wants a signed request, and gets a signed answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, ValidationError
from starlette import routing
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aurora_core import regular
from aurora_core.agent import signatures
from aurora_core.agent.engine import Engine
from aurora_core.agent.metrics import EngineCollector
from aurora_core.agent.recent import Recent
from aurora_core.agent.serving import ServingCollector
from aurora_core.errors import AuroraError, EngineError, WeightsError
from aurora_core.protocol.agent import Contents, Loaded, LoadRequest, RateRequest, Record, Refusal, Route, StepsRequest
from aurora_core.protocol.message import explained
from aurora_core.protocol.trainer import MOST_BYTES, TrainerStatus
from aurora_core.weights import record, volume
from aurora_core.weights.store import WeightsStore

"""Of the trainer's status at most."""
_BODY_BYTES = 1 << 20
"""Of a request at most."""

_Endpoint = Callable[[Request], Awaitable[Response]]


def _json(body: BaseModel, status: int = 200) -> Response:
    return JSONResponse(body.model_dump(mode="json", by_alias=True), status_code=status)


def _problem(status: int, message: str) -> Response:
    return _json(Refusal(error=message), status)


async def _check_body(request: Request, digest: str) -> None:
    """Whether a request's body is the one with this SHA-256. Starlette keeps it for the endpoint.

    Raises:
        Refused: it is another one, or longer than anything that is sent to an agent.
    """
    if int(request.headers.get("content-length", "0")) > _BODY_BYTES or "transfer-encoding" in request.headers:
        message = f"the request's body is longer than {_BODY_BYTES} bytes, or its length is not stated"
        raise signatures.Refused(message)
    if sha256(await request.body()).hexdigest() != digest:
        message = "the request's body is not the one that was signed"
        raise signatures.Refused(message)


class Agent:
    """What the endpoints do."""

    def __init__(
        self,
        store: WeightsStore,
        engine: Engine,
        key: str,
        name: str,
        training: Path | None,
        record: Path | None,
        labels: Mapping[str, str],
    ) -> None:
        self._store = store
        self._volume = volume.Probe(store.root)
        self._engine = engine
        self._key = key
        self._verifier = signatures.Verifier(key, name)
        self._training = training
        self._record = record
        self._registry = CollectorRegistry()
        self._registry.register(EngineCollector(Recent(engine.state).get, self._volume.measure, labels))
        # An engine that hangs is waited for once: both together leave a scrape of 10 s its time.
        self._registry.register(ServingCollector(Recent(engine.metrics, patience=1.5).get, labels))
        # Anybody may scrape: scrapes never take the threads that the operator's calls run on.
        self._scrapes = ThreadPoolExecutor(2, thread_name_prefix="scrape")

    def _guard(self, endpoint: _Endpoint) -> _Endpoint:
        async def answered(request: Request, signed: signatures.Signed) -> Response:
            try:
                self._verifier.admit(signed)
                await _check_body(request, signed.body)
                return await endpoint(request)
            except signatures.Refused as refusal:
                return _problem(401, str(refusal))
            except ValidationError as error:
                return _problem(422, explained(error))
            except WeightsError as error:
                return _problem(409, str(error))
            except EngineError as error:
                return _problem(502, str(error))
            except AuroraError as error:
                return _problem(500, str(error))

        async def guarded(request: Request) -> Response:
            signed = signatures.Signed.read(request.headers.get("authorization", ""))
            # Nothing of a body is read for someone without the key, and nothing is signed for them.
            if signed is None or not self._verifier.by_key(signed, request.method, request.url.path):
                return _problem(401, "this needs a request that is signed with the agent's key, for this agent")
            answer = await answered(request, signed)
            signature = signatures.sign_answer(self._key, signed.nonce, answer.status_code, bytes(answer.body))
            answer.headers[signatures.ANSWER_HEADER] = signature
            return answer

        return guarded

    async def alive(self, _: Request) -> Response:
        """The agent answers."""
        return JSONResponse({"alive": True})

    async def metrics(self, _: Request) -> Response:
        """The engine's measurements."""
        text = await asyncio.get_running_loop().run_in_executor(self._scrapes, generate_latest, self._registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    async def versions(self, _: Request) -> Response:
        """All complete versions and what they say of themselves."""

        def read() -> Contents:
            self._volume.measure()
            found, damaged = self._store.manifests()
            problems = {str(version): problem for version, problem in damaged.items()}
            try:
                kept = None if self._record is None else record.read(self._record)
            except WeightsError as error:
                kept, problems["record"] = None, str(error)
            return Contents(versions=tuple(one.info() for one in found), damaged=problems, record=kept)

        return _json(await run_in_threadpool(read))

    async def keep_record(self, request: Request) -> Response:
        """Keep what promotion decided on the volume."""
        kept = Record.model_validate_json(await request.body())
        if self._record is None:
            return _problem(409, "this agent keeps no record")
        await run_in_threadpool(record.write, self._record, kept)
        return _json(kept)

    async def volume(self, _: Request) -> Response:
        """How full the volume is."""
        return _json(await run_in_threadpool(self._volume.measure))

    async def training(self, _: Request) -> Response:
        """The trainer's last status; empty before its first."""

        def read() -> TrainerStatus | None:
            self._volume.measure()
            if self._training is None:
                return None
            try:
                return TrainerStatus.model_validate_json(regular.read(self._training, MOST_BYTES))
            except FileNotFoundError:
                return None
            except ValidationError as error:
                message = f"the trainer's status {self._training} cannot be read: {explained(error)}"
                raise WeightsError(message) from error
            except OSError as error:
                message = f"the trainer's status {self._training} cannot be read: {error.strerror}"
                raise WeightsError(message) from error

        found = await run_in_threadpool(read)
        return JSONResponse({}) if found is None else _json(found)

    async def live(self, _: Request) -> Response:
        """The engine's state."""
        return _json(await run_in_threadpool(self._engine.state))

    async def load(self, request: Request) -> Response:
        """Make a version live and confirm it."""
        body = LoadRequest.model_validate_json(await request.body())
        version = body.version
        found = await run_in_threadpool(self._store.manifest, version)
        if body.digest not in {"", found.digest}:
            return _problem(
                409, f"version {version} on this volume is not the one that is meant: the volume was replaced"
            )
        seconds = await run_in_threadpool(self._engine.load, version)
        return _json(Loaded(live=version, stalled_seconds=seconds))

    async def steps(self, request: Request) -> Response:
        """Switch speculation."""
        body = StepsRequest.model_validate_json(await request.body())
        await run_in_threadpool(self._engine.set_steps, body.steps)
        return _json(body)

    async def rate(self, request: Request) -> Response:
        """Change the share of requests that are captured."""
        body = RateRequest.model_validate_json(await request.body())
        await run_in_threadpool(self._engine.set_sample_rate, body.rate)
        return _json(body)

    def routes(self) -> list[routing.Route]:
        """The interface."""
        free = {Route.HEALTH: self.alive, Route.METRICS: self.metrics}
        reads = {
            Route.VERSIONS: self.versions,
            Route.VOLUME: self.volume,
            Route.TRAINING: self.training,
            Route.LIVE: self.live,
        }
        changes = {
            Route.RECORD: self.keep_record,
            Route.LOAD: self.load,
            Route.STEPS: self.steps,
            Route.SAMPLE_RATE: self.rate,
        }
        return [
            *(routing.Route(path, endpoint) for path, endpoint in free.items()),
            *(routing.Route(path, self._guard(endpoint)) for path, endpoint in reads.items()),
            *(routing.Route(path, self._guard(endpoint), methods=["POST"]) for path, endpoint in changes.items()),
        ]


def make(
    store: WeightsStore,
    engine: Engine,
    key: str,
    *,
    name: str = "",
    training: Path | None = None,
    record: Path | None = None,
    labels: Mapping[str, str] | None = None,
) -> Starlette:
    """The agent as an ASGI application.

    Args:
        store: the versions.
        engine: the engine beside it.
        key: with which callers must sign.
        name: this agent's, for which they must sign; several agents have one key.
        training: the trainer's status file.
        record: folder of the record of promotion.
        labels: labels of every metric.

    Raises:
        EngineError: there is no key; an open agent would let anyone change what is served.
    """
    if not key:
        message = "the agent needs a key: set AURORA_AGENT_TOKEN"
        raise EngineError(message)
    return Starlette(routes=Agent(store, engine, key, name, training, record, labels or {}).routes())
