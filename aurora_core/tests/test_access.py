"""Which of the engine's routes users reach, against SGLang's own table of routes."""

import importlib
import os

import pytest
from aurora_core.credentials import clean, from_environment, taken
from aurora_core.engine.access import PROBES, USER_ROUTES, WARM_UP, Access, AccessMiddleware, audience
from aurora_core.engine.settings import ADMIN_KEY, API_KEY, VARIABLE, EngineSettings
from aurora_core.errors import ConfigError
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

pytestmark = pytest.mark.filterwarnings("ignore")

ADMIN, USER = "admin-0123456789", "user-0123456789"

CONTROL_ROUTES = {
    "/", "/abort_request", "/add_external_corpus", "/api/chat", "/api/generate", "/api/show", "/api/tags",
    "/begin_weight_update", "/classify", "/close_session", "/configure_logging", "/continue_generation",
    "/destroy_weights_update_group", "/docs", "/docs/oauth2-redirect", "/dump_expert_distribution_record", "/encode",
    "/end_weight_update", "/flush_cache", "/freeze_gc", "/get_hicache_l3_cache_layout", "/get_model_info",
    "/get_remote_instance_transfer_engine_info", "/get_server_info", "/get_weights_by_name", "/hicache/storage-backend",
    "/hicache/storage-backend/clear", "/init_weights_send_group_for_remote_instance", "/init_weights_update_group",
    "/invocations", "/list_external_corpora", "/load_lora_adapter", "/load_lora_adapter_from_tensors", "/model_info",
    "/open_session", "/openapi.json", "/parse_function_call", "/pause_generation", "/pd_role_switch", "/redoc",
    "/release_memory_occupation", "/remote_instance_transfer_engine_info", "/remove_external_corpus",
    "/resume_memory_occupation", "/scale_elastic_ep", "/send_weights_to_remote_instance", "/separate_reasoning",
    "/server_info", "/is_scaling_elastic_ep",
    "/set_internal_state", "/set_trace_level", "/slow_down", "/start_expert_distribution_record", "/start_profile",
    "/stop_expert_distribution_record", "/stop_profile", "/unload_lora_adapter", "/update_weight_version",
    "/update_weights_from_disk", "/update_weights_from_distributed", "/update_weights_from_ipc",
    "/update_weights_from_tensor", "/v1/loads", "/vertex_generate", "/weights_checker",
}  # fmt: skip
"""Routes of SGLang 0.5.23 that are not for users; a route of a later version is on no list, and fails a test here."""


def paths(routes):
    for route in routes:
        path = getattr(route, "path", None)
        if path is not None:
            yield path
        else:
            yield from paths(route.original_router.routes)


@pytest.fixture(scope="module")
def table():
    """The paths of SGLang's HTTP server."""
    os.environ.setdefault("SGLANG_USE_CPU_ENGINE", "1")
    return set(paths(importlib.import_module("sglang.srt.entrypoints.http_server").app.routes))


@pytest.mark.sglang
def test_every_route_is_decided_on(table):
    decided = {*PROBES, *USER_ROUTES, *CONTROL_ROUTES}
    assert table - decided == set()
    assert decided - table == set()


def concrete(route):
    return route.replace("{model:path}", "org/model").replace("{response_id}", "resp_1")


def methods(routes):
    for route in routes:
        if hasattr(route, "path"):
            yield from getattr(route, "methods", None) or ()
        else:
            yield from methods(route.original_router.routes)


@pytest.mark.sglang
def test_no_route_runs_for_a_preflight(table):
    assert "OPTIONS" not in set(methods(importlib.import_module("sglang.srt.entrypoints.http_server").app.routes))


@pytest.mark.sglang
def test_users_reach_their_routes_and_no_other(table):
    for route in table:
        expected = "probe" if route in PROBES else "user" if route in USER_ROUTES else "control"
        assert audience(concrete(route)) == expected, route


@pytest.mark.parametrize(
    "path",
    [
        "/server_info/", "//server_info", "/v1/../server_info", "/V1/models", "/v1/models/", "/health/x", "/generate/x",
        "/metrics", "/metrics/", "/healthz", "/readyz", "/v1/completions\n", "/v1/responses/a/b", "",
    ],
)  # fmt: skip
def test_what_is_on_no_list_is_for_the_admin_key_alone(path):
    assert audience(path) == "control"


@given(st.text(max_size=40))
def test_no_path_passes_that_is_not_listed(path):
    if audience(path) == "user":
        assert path in USER_ROUTES or path.startswith(("/v1/models/", "/v1/responses/"))


def app(access):
    async def answer(request):
        return PlainTextResponse(request.url.path)

    async def socket(websocket):
        await websocket.accept()
        await websocket.close()

    routes = [Route(concrete(r), answer, methods=["GET", "POST"]) for r in {*PROBES, *USER_ROUTES, *CONTROL_ROUTES}]
    made = Starlette(routes=[*routes, WebSocketRoute("/v1/realtime", socket)])
    made.add_middleware(AccessMiddleware, access=access)
    return TestClient(made, client=("10.0.0.7", 1))


def status(client, path, key=None, header="Authorization"):
    shown = {} if key is None else {header: f"Bearer {key}" if header == "Authorization" else key}
    return client.get(concrete(path), headers=shown).status_code


@pytest.mark.parametrize("api_key", ["", USER])
def test_control_routes_open_for_the_admin_key_alone(api_key):
    client = app(Access(ADMIN, api_key))
    for path in CONTROL_ROUTES:
        assert status(client, path) == 403
        assert status(client, path, USER) == 403
        assert status(client, path, "") == 403
        assert status(client, path, ADMIN) == 200


def test_users_need_their_key_where_there_is_one():
    open_, closed = app(Access(ADMIN)), app(Access(ADMIN, USER))
    for path in USER_ROUTES:
        assert status(open_, path) == 200
        assert status(closed, path) == 401
        assert status(closed, path, "wrong") == 401
        assert status(closed, path, USER) == 200
        assert status(closed, path, USER, "x-api-key") == 200
        assert status(closed, path, ADMIN) == 200
    assert [status(closed, path) for path in PROBES] == [200] * len(PROBES)


def test_a_websocket_needs_the_key_too():
    client = app(Access(ADMIN, USER))
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/realtime") as socket:
        socket.receive()
    with client.websocket_connect("/v1/realtime", headers={"Authorization": f"Bearer {USER}"}) as socket:
        assert socket.receive()["type"] == "websocket.close"


def test_warming_up_opens_what_sglang_calls_of_itself_and_only_from_here():
    access = Access(ADMIN, USER)
    assert access.refusal("/generate", "", "127.0.0.1") == 401
    access.warming_up.set()
    for path in WARM_UP:
        assert access.refusal(path, "", "127.0.0.1") is None
        assert access.refusal(path, "", "10.0.0.7") in {401, 403}
    assert access.refusal("/server_info", "", "127.0.0.1") == 403
    access.warming_up.clear()
    assert access.refusal("/freeze_gc", "", "127.0.0.1") == 403


@pytest.mark.parametrize(
    "value",
    ["", " ", "\n", "a b", "a\nb", "--BEGIN KEY--\nx\n--END KEY--", "pässwört", "\x00k", "x" * 5000],
)
def test_what_is_no_credential_is_refused_without_being_repeated(value):
    with pytest.raises(ConfigError) as refused:
        clean(value, "the key")
    assert "the key" in str(refused.value)
    assert not value.strip() or value.strip() not in str(refused.value)


@given(st.text(min_size=8, max_size=60))
def test_no_refusal_repeats_a_value(value):
    try:
        assert clean(value, "key") == value.strip()
    except ConfigError as error:
        assert value.strip() not in str(error) or not value.strip()


def test_white_space_around_a_credential_is_not_part_of_it():
    assert from_environment("KEY", {"KEY": " token-1\n"}) == "token-1"
    assert from_environment("KEY", {}) == ""
    with pytest.raises(ConfigError, match="KEY is empty"):
        from_environment("KEY", {"KEY": "\n"})


def test_a_browsers_preflight_needs_no_key_and_reaches_no_control_route():
    client = app(Access(ADMIN, USER))
    for path in USER_ROUTES:
        assert client.options(concrete(path)).status_code == 405  # of the router: no middleware refused it
    for path in CONTROL_ROUTES:
        assert client.options(path).status_code == 403


@pytest.mark.parametrize("value", ["key-1\n", "no key"])
def test_a_credential_that_was_taken_is_in_no_environment(value):
    environment = {"KEY": value, "OTHER": "1"}
    try:
        assert taken("KEY", environment) == "key-1"
    except ConfigError as error:
        assert value not in str(error)
    assert environment == {"OTHER": "1"}


@pytest.fixture
def plugin(monkeypatch):
    """The plugin's module; no hook is registered for real."""
    module = importlib.import_module("aurora_core.engine.plugin")
    registered = {}
    monkeypatch.setattr(
        module.HookRegistry, "register", lambda target, hook, kind: registered.update({target: (hook, kind)})
    )
    monkeypatch.setattr(module, "_registered", registered, raising=False)
    settings = EngineSettings(
        weights="w", version=0, target="t", spool="s", dtype="float32", initial_steps=0, samples={}
    )
    monkeypatch.setenv(VARIABLE, settings.model_dump_json(by_alias=True))
    return module


@pytest.mark.sglang
def test_processes_that_the_engine_starts_have_no_credentials(plugin, monkeypatch):
    monkeypatch.setenv(ADMIN_KEY, ADMIN)
    monkeypatch.setenv(API_KEY, USER)
    plugin.register()
    assert not {ADMIN_KEY, API_KEY} & set(os.environ)
    serve, _ = plugin._registered[plugin._SERVE]
    assert serve.__self__.access == Access(ADMIN, USER, serve.__self__.access.warming_up)


@pytest.mark.sglang
def test_without_an_admin_key_it_does_not_listen(plugin, monkeypatch):
    monkeypatch.delenv(ADMIN_KEY, raising=False)
    plugin.register()
    serve, _ = plugin._registered[plugin._SERVE]
    with pytest.raises(ConfigError, match=ADMIN_KEY):
        serve()


@pytest.mark.sglang
@pytest.mark.parametrize(
    "broken",
    [
        lambda patch, plugin: patch.setenv(VARIABLE, "{}"),
        lambda patch, plugin: patch.setenv(ADMIN_KEY, "no key\n"),
        lambda patch, plugin: patch.setenv(API_KEY, ""),
        lambda patch, plugin: patch.setattr(plugin, "_SERVE", f"{plugin._HTTP}.gone_in_an_upgrade"),
        lambda patch, plugin: patch.setattr(plugin, "_SERVE", f"{plugin._HTTP}_gone.serve"),
    ],
)
def test_the_engine_ends_where_sglang_would_serve_without_access_control(plugin, monkeypatch, broken):
    """SGLang catches every Exception of a plugin, and serves on without it."""
    monkeypatch.setenv(ADMIN_KEY, ADMIN)
    broken(monkeypatch, plugin)
    with pytest.raises(SystemExit) as ended:
        plugin.register()
    assert ADMIN not in str(ended.value)
    assert "no key" not in str(ended.value)
    assert not plugin._registered
