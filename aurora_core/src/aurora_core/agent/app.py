"""The agent's HTTP interface. All but liveness and metrics wants the bearer token."""

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aurora_core.agent.engine import Engine
from aurora_core.agent.metrics import EngineCollector
from aurora_core.errors import AuroraError, EngineError, WeightsError
from aurora_core.weights import record, volume
from aurora_core.weights.store import WeightsStore

_Endpoint = Callable[[Request], Awaitable[Response]]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LoadRequest(_Strict):
    """Make a version live."""

    version: int = Field(ge=0)
    digest: str = ""


class StepsRequest(_Strict):
    """Draft this many steps; 0 switches speculation off."""

    steps: int = Field(ge=0)


class RateRequest(_Strict):
    """Capture this share of requests."""

    rate: float = Field(ge=0, le=1)


def _problem(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status_code=status)


class Agent:
    """What the endpoints do."""

    def __init__(
        self,
        store: WeightsStore,
        engine: Engine,
        token: str,
        training: Path | None,
        record: Path | None,
        labels: Mapping[str, str],
    ) -> None:
        self._store = store
        self._volume = volume.Probe(store.root)
        self._engine = engine
        self._token = token
        self._training = training
        self._record = record
        self._registry = CollectorRegistry()
        self._registry.register(EngineCollector(engine.state, self._volume.look, labels))

    def _guard(self, endpoint: _Endpoint) -> _Endpoint:
        async def guarded(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
                return _problem(401, "this needs the agent's bearer token")
            try:
                return await endpoint(request)
            except ValidationError as error:
                return _problem(422, "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()))
            except WeightsError as error:
                return _problem(409, str(error))
            except EngineError as error:
                return _problem(502, str(error))
            except AuroraError as error:
                return _problem(500, str(error))

        return guarded

    async def alive(self, _: Request) -> Response:
        """The agent answers."""
        return JSONResponse({"alive": True})

    async def metrics(self, _: Request) -> Response:
        """The engine's measurements."""
        text = await run_in_threadpool(generate_latest, self._registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    async def versions(self, _: Request) -> Response:
        """All complete versions and what they say of themselves."""

        def read() -> dict[str, object]:
            self._volume.look()
            found, damaged = self._store.manifests()
            problems = {str(version): problem for version, problem in damaged.items()}
            try:
                kept = None if self._record is None else record.read(self._record)
            except WeightsError as error:
                kept, problems["record"] = None, str(error)
            return {
                "versions": [one.model_dump(mode="json") | {"digest": one.digest} for one in found],
                "damaged": problems,
                "record": None if kept is None else kept.model_dump(mode="json"),
            }

        return JSONResponse(await run_in_threadpool(read))

    async def keep_record(self, request: Request) -> Response:
        """Keep what promotion decided on the volume."""
        kept = record.Record.model_validate_json(await request.body())
        if self._record is None:
            return _problem(409, "this agent keeps no record")
        await run_in_threadpool(record.write, self._record, kept)
        return JSONResponse(kept.model_dump(mode="json"))

    async def volume(self, _: Request) -> Response:
        """How full the volume is."""
        return JSONResponse((await run_in_threadpool(self._volume.look))._asdict())

    async def training(self, _: Request) -> Response:
        """What the trainer last told of itself; empty before it told anything."""

        def read() -> dict[str, object]:
            self._volume.look()
            if self._training is None or not self._training.exists():
                return {}
            try:
                told: dict[str, object] = json.loads(self._training.read_text())
            except (OSError, ValueError) as error:
                message = f"the trainer's status {self._training} cannot be read: {error}"
                raise WeightsError(message) from error
            return told

        return JSONResponse(await run_in_threadpool(read))

    async def live(self, _: Request) -> Response:
        """The engine's state."""
        return JSONResponse(await run_in_threadpool(self._engine.state))

    async def load(self, request: Request) -> Response:
        """Make a version live and confirm it."""
        asked = LoadRequest.model_validate_json(await request.body())
        version = asked.version
        found = await run_in_threadpool(self._store.manifest, version)
        if asked.digest not in {"", found.digest}:
            return _problem(
                409, f"version {version} on this volume is not the one that is meant: the volume was replaced"
            )
        seconds = await run_in_threadpool(self._engine.load, version)
        return JSONResponse({"live": version, "stalled_seconds": seconds})

    async def steps(self, request: Request) -> Response:
        """Switch speculation."""
        steps = StepsRequest.model_validate_json(await request.body()).steps
        await run_in_threadpool(self._engine.set_steps, steps)
        return JSONResponse({"steps": steps})

    async def rate(self, request: Request) -> Response:
        """Change the share of requests that are captured."""
        rate = RateRequest.model_validate_json(await request.body()).rate
        await run_in_threadpool(self._engine.set_sample_rate, rate)
        return JSONResponse({"rate": rate})

    def routes(self) -> list[Route]:
        """The interface."""
        return [
            Route("/healthz", self.alive),
            Route("/metrics", self.metrics),
            Route("/v1/versions", self._guard(self.versions)),
            Route("/v1/record", self._guard(self.keep_record), methods=["POST"]),
            Route("/v1/volume", self._guard(self.volume)),
            Route("/v1/training", self._guard(self.training)),
            Route("/v1/live", self._guard(self.live)),
            Route("/v1/load", self._guard(self.load), methods=["POST"]),
            Route("/v1/steps", self._guard(self.steps), methods=["POST"]),
            Route("/v1/sample-rate", self._guard(self.rate), methods=["POST"]),
        ]


def make(
    store: WeightsStore,
    engine: Engine,
    token: str,
    *,
    training: Path | None = None,
    record: Path | None = None,
    labels: Mapping[str, str] | None = None,
) -> Starlette:
    """The agent as an ASGI application.

    Args:
        store: the versions.
        engine: the engine beside it.
        token: bearer token that callers must show.
        training: the trainer's status file.
        record: folder of the record of promotion.
        labels: labels of every metric.

    Raises:
        EngineError: there is no token; an open agent would let anyone change what is served.
    """
    if not token:
        message = "the agent needs a token: set AURORA_AGENT_TOKEN"
        raise EngineError(message)
    return Starlette(routes=Agent(store, engine, token, training, record, labels or {}).routes())
