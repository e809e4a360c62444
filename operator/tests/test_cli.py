"""The command line as a person calls it: it waits for effects, says what happened, and ends with 1 where it did not."""

import json
import tarfile
from datetime import timedelta

import pytest
from aurora_operator.api.status import Candidate, Condition, Entry, Serving, Stable, Status
from aurora_operator.cli import report
from aurora_operator.cli.kubectl import Failure, failure_of
from operator_support import NOW, a_body, a_spec

STABLE = Stable(version=4, steps=3, since=NOW, previous=2, previous_steps=3)
GET = "get speculatordeployments.aurora-operator.io chat"
REFUSED = "E1126 20:01:01.1 123 memcache.go:265] couldn't get current server API group list: refused\n" * 7 + (
    "The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?\n"
)
FORBIDDEN = 'Error from server (Forbidden): nodes is forbidden: User "jane" cannot list resource "nodes"\n'


def resource(status=None, annotations=None, **spec):
    return json.dumps(a_body(a_spec(**spec), status or Status(stable=STABLE, decided=4), annotations))


def on_trial(kind="NewVersion"):
    return Status(stable=STABLE, candidate=Candidate(version=5, steps=3, since=NOW, kind=kind), decided=4)


def test_promote_waits_until_all_engines_serve_it(kubectl, run):
    entry = Entry(time=NOW + timedelta(seconds=1), version=5, verdict="Promoted", reason="manually")
    stable = STABLE.model_copy(update={"version": 5})
    after = Status(stable=stable, decided=5, history=[entry], serving=Serving(versions=[5]))
    kubectl.answer({GET: (0, resource(on_trial()), ""), "annotate": (0, "", "")})
    kubectl.after({GET: (0, resource(after), "")})
    assert run("promote", "chat") == (0, "chat: version 5 is promoted, in all engines\n")
    annotated = next(call for call in kubectl.calls if call[0] == "annotate")
    assert "aurora-operator.io/promote=5" in annotated
    assert "--namespace=ns" in annotated


def test_promote_of_a_challenge_changes_nothing_and_does_not_report_success(kubectl, run):
    kubectl.answer({GET: (0, resource(on_trial("TargetOnly")), "")})
    code, out = run("promote", "chat")
    assert (code, out.startswith("chat: nothing was done: ")) == (1, True)
    assert not [call for call in kubectl.calls if call[0] == "annotate"]


def test_what_does_not_happen_in_time_ends_with_1_and_how_to_take_it_back(kubectl, run):
    kubectl.answer({GET: (0, resource(on_trial()), ""), "annotate": (0, "", "")})
    code, out = run("reject", "chat", "--timeout", "0.05")
    assert code == 1
    assert "not complete after 0 s: the operator has not decided yet" in out
    assert "aurora doctor chat" in out
    assert "kubectl annotate specdep chat --namespace ns aurora-operator.io/reject-" in out


def test_a_server_that_is_away_for_a_moment_does_not_end_the_wait(kubectl, run):
    kubectl.answer({GET: (0, resource(on_trial()), ""), "annotate": (0, "", "")})
    kubectl.after({GET: (1, "", REFUSED)})
    code, out = run("reject", "chat", "--timeout", "0.5")
    assert code == 1
    assert "cannot be read now: The connection to the server 10.0.0.1:6443 was refused" in out
    assert "nothing was changed" not in out


def test_timeout_0_only_asks(kubectl, run):
    kubectl.answer({GET: (0, resource(on_trial()), ""), "annotate": (0, "", "")})
    code, out = run("reject", "chat", "--timeout", "0")
    assert (code, "was not waited for" in out) == (0, True)


def test_speculation_off_and_the_context_that_was_named(kubectl, run):
    one = Condition(type="Speculating", status="False", reason="SwitchedOff", last_transition_time=NOW)
    kubectl.answer({GET: (0, resource(), ""), "annotate": (0, "", "")})
    kubectl.after({GET: (0, resource(Status(stable=STABLE, conditions=[one])), "")})
    code, out = run("speculation", "off", "chat", "--context", "prod", "--kubeconfig", "/k", "-n", "ns")
    assert (code, out) == (0, "chat: speculation is off in all engines, until aurora speculation on\n")
    for call in kubectl.calls:
        assert {"--context=prod", "--kubeconfig=/k", "--namespace=ns"} <= set(call)


def test_rollback_to_a_version(kubectl, run):
    entry = Entry(time=NOW + timedelta(seconds=1), version=4, verdict="RolledBack", reason="rolled back from 4 to 1")
    stable = Stable(version=1, steps=3, since=NOW)
    after = Status(stable=stable, decided=5, history=[entry], serving=Serving(versions=[1]))
    kubectl.answer({GET: (0, resource(), ""), "annotate": (0, "", "")})
    kubectl.after({GET: (0, resource(after), "")})
    assert run("rollback", "chat", "--to", "1")[0] == 0
    asked, cleared = (call for call in kubectl.calls if call[0] == "annotate")
    assert "aurora-operator.io/rollback=4:1" in asked
    assert "aurora-operator.io/rollback-" in cleared


def test_the_resources_of_all_namespaces_as_a_table_and_as_json(kubectl, run):
    items = json.dumps({"items": [json.loads(resource()), json.loads(resource(on_trial()))]})
    kubectl.answer({"get --all-namespaces": (0, items, "")})
    code, out = run("status", "-A")
    assert code == 0
    assert [line.split()[:4] for line in out.splitlines()[1:]] == [["ns", "chat", "0/1", "4"]] * 2
    code, out = run("status", "-A", "-o", "json")
    assert [one["status"]["stable"]["version"] for one in json.loads(out)] == [4, 4]


def test_a_server_that_cannot_be_reached_is_not_called_missing_parts(kubectl, run):
    kubectl.answer({"get": (1, "", REFUSED)})
    code, out = run("doctor", "chat")
    assert code == 1
    assert len(out.splitlines()) == 1
    assert out.startswith("UNREACHABLE API server: The connection to the server 10.0.0.1:6443 was refused")
    assert out.endswith("check the context, the network, the VPN; nothing else could be checked\n")


def answers(**more):
    return {
        "get --raw /version": (0, "{}", ""),
        "get --raw /apis/aurora-operator.io/v1alpha1": (0, "{}", ""),
        "get deployments": (0, "1", ""),
        "get storageclasses": (0, "fast", ""),
        "get nodes": (0, "8", ""),
    } | {key.replace("_", " "): value for key, value in more.items()}


def checked(run, *words):
    code, out = run("doctor", *words, "-o", "json")
    return code, {one["name"]: (one["result"], one["message"]) for one in json.loads(out)}


def test_what_these_credentials_may_not_see_is_forbidden_and_not_missing(kubectl, run):
    kubectl.answer(answers(get_nodes=(1, "", FORBIDDEN), get_deployments=(1, "", FORBIDDEN)))
    code, found = checked(run)
    assert (code, found["GPUs"][0], found["operator"][0]) == (0, "FORBIDDEN", "FORBIDDEN")
    assert 'User "jane"' in found["GPUs"][1]


def test_gpus_are_found_by_the_names_that_pods_request(kubectl, run):
    spec = {"serving": {"gpuResource": "amd.com/gpu"}, "training": {"device": "cpu"}, "weights": {"claimName": "c"}}
    kubectl.answer(answers() | {GET: (0, resource(**spec), "")})
    checked(run, "chat")
    (nodes,) = [call for call in kubectl.calls if call[:2] == ["get", "nodes"]]
    assert nodes[-1] == "jsonpath={.items[*].status.allocatable.amd\\.com/gpu}"


def test_what_is_missing_says_what_to_do(kubectl, run):
    missing = "Error from server (NotFound): the server could not find the requested resource\n"
    kubectl.answer(
        answers(get_deployments=(0, "", "")) | {"get --raw /apis/aurora-operator.io/v1alpha1": (1, "", missing)}
    )
    code, found = checked(run)
    assert code == 1
    assert found["CustomResourceDefinition"] == ("MISSING", "helm install the chart aurora-operator")
    assert found["operator"][0] == "MISSING"


def prometheus(kubectl, out="", error=""):
    query = "query?query=aurora_engine_up%7Bspeculator%3D%22ns%2Fchat%22%7D"
    path = f"get --raw /api/v1/namespaces/mon/services/http:prom:9090/proxy/api/v1/{query}"
    given = {"promotion": {"prometheus": {"url": "http://prom.mon.svc:9090"}}}
    kubectl.answer(answers() | {GET: (0, resource(**given), ""), path: (1 if error else 0, out, error)})


def series(value="1", namespace="ns"):
    one = {"metric": {"engine": "chat-engine-1", "namespace": namespace}, "value": [1, value]}
    return json.dumps({"data": {"result": [one]}})


@pytest.mark.parametrize(
    ("out", "error", "result", "part"),
    [
        (series(), "", "ok", "1 engines of ns/chat"),
        (series("0"), "", "FAILING", "do not answer their agent"),
        (series(namespace="other"), "", "FAILING", "namespace=ns"),
        ('{"data": {"result": []}}', "", "MISSING", "podMonitor"),
        ("<html>", "", "FAILING", "not as a Prometheus does"),
        ("", "Error from server (ServiceUnavailable): no endpoints available", "UNREACHABLE", "does not answer"),
        ("", FORBIDDEN, "FORBIDDEN", "PromotionProgressing"),
        ("", "error: You must be logged in to the server (Unauthorized)", "FORBIDDEN", "PromotionProgressing"),
        ("", "Error from server (NotFound): the server could not find the requested resource", "MISSING", "query API"),
    ],
)
def test_the_prometheus_is_asked_for_the_engines(kubectl, run, out, error, result, part):
    prometheus(kubectl, out, error)
    found = checked(run, "chat")[1]["Prometheus"]
    assert found[0] == result
    assert part in found[1]


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        (REFUSED, Failure.UNREACHABLE),
        (FORBIDDEN, Failure.FORBIDDEN),
        ('error: the server doesn\'t have a resource type "speculatordeployments"', Failure.NO_KIND),
        ('Error from server (NotFound): speculatordeployments "x" not found', Failure.MISSING),
        ("error: You must be logged in to the server (Unauthorized)", Failure.UNAUTHENTICATED),
        ('error: context "nope" does not exist', Failure.UNREACHABLE),
        ("error: something else", Failure.OTHER),
    ],
)
def test_failures_of_kubectl_are_distinguished(text, failure):
    assert failure_of(text) == failure


def test_only_the_line_that_matters_of_an_error_is_shown(kubectl, run):
    kubectl.answer({"get": (1, "", REFUSED)})
    code, out = run("status", "chat")
    assert "memcache.go" not in out
    assert "cannot be reached with this context" in out
    assert code != 0


SECRET = "Qz7hunter2"  # noqa: S105 (made up)


def pods():
    env = [{"name": "HF_TOKEN", "value": SECRET}, {"name": "MODE", "value": "fast"}]
    metadata = {"name": "chat-engine-1", "namespace": "ns", "managedFields": [{"manager": SECRET}]}
    container = {"name": "engine", "env": env, "args": ["--api-key", SECRET, "--port", "30000"]}
    status = {"containerStatuses": [{"name": "engine", "restartCount": 1}]}
    pod = {"kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}, "status": status}
    return json.dumps({"items": [pod]})


KINDS = ",".join(report._KINDS)


@pytest.mark.parametrize("forbidden", [False, True])
def test_a_report_has_what_a_maintainer_needs_and_no_secret(kubectl, run, tmp_path, forbidden):
    log = f"loading\nAuthorization: Bearer {SECRET}\napi_key='{SECRET}'\nmax_total_num_tokens=20000, #new-token: 12\n"
    mine, other = ({"involvedObject": {"name": name}, "message": name} for name in ("chat-engine-1", "chatter"))
    kubectl.answer(
        answers()
        | {
            GET: (0, resource(), ""),
            f"get {KINDS}": (1, "", "Error from server (Forbidden): pods is forbidden")
            if forbidden
            else (0, pods(), ""),
            "get pods": (0, pods() if forbidden else json.dumps({"items": []}), ""),
            "get events": (0, json.dumps({"items": [mine, other]}), ""),
            "logs --previous": (1, "", "previous terminated container not found"),
            "logs": (0, log, ""),
        }
    )
    file = tmp_path / "bundle.tar.gz"
    code, out = run("report", "chat", "-f", str(file))
    assert code in {0, None}
    assert "no Secret was read" in out
    assert file.stat().st_mode & 0o077 == 0
    with tarfile.open(file) as bundle:
        texts = {
            m.name.removeprefix("aurora-report/"): bundle.extractfile(m).read().decode() for m in bundle.getmembers()
        }
    assert SECRET not in "".join(texts.values())
    assert "max_total_num_tokens=20000, #new-token: 12" in texts["ns/chat/logs/chat-engine-1-engine.log"]
    assert "previous terminated" in texts["ns/chat/logs/chat-engine-1-engine-previous.log.error"]
    assert '"fast"' in texts["ns/chat/pods.json"]
    assert "chatter" not in texts["ns/chat/events.json"]
    assert json.loads(texts["ns/chat/resource.json"])["status"]["stable"]["version"] == 4
    assert not [call for call in kubectl.calls if any("secret" in word for word in call)]


def test_the_versions_of_command_operator_and_api(kubectl, run):
    kubectl.answer({"get deployments": (0, "r/aurora-operator:0.1.0", ""), "get --raw": (1, "", FORBIDDEN)})
    code, out = run("version", "-o", "json")
    assert code in {0, None}
    assert json.loads(out)["operator"] == "r/aurora-operator:0.1.0"
    assert json.loads(out)["api"] == "not served: forbidden"
