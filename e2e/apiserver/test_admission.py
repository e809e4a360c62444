"""What cannot work is refused by `kubectl apply` itself, with message that say what to do; nothing of it is stored."""

import pytest
from apiserver_support import GOOD, apply, changed, kubectl

LONG = "a" * 300
WITH_DRAFT = {"checkpoint": "/model/draft"}
TREE = {"checkpoint": "org/draft", "topK": 2, "numDraftTokens": 6}
ADAPTERS = {"extraArgs": ["--lora-paths", "sql=/model/sql"]}


def strata(*names, by="Header", header=None, salt=None, value="v", **more):
    named = [{"name": name, "values": [value], **more} for name in names or ("law",)]
    given = {"by": by, "header": header, "salt": salt, "named": named}
    return {name: part for name, part in given.items() if part is not None}


BAD = [
    ("spec.mode", None, "spec.mode"),
    ("spec.mode", "Online", "samples.transport Ray is that of mode Online"),
    ("spec.mode", "externalwithoutdraft", "spec.mode"),
    ("spec.mode", "ExternalWithDraft", "needs draft.checkpoint"),
    ("spec.draft", WITH_DRAFT, "remove draft.checkpoint"),
    ("spec.draft", {"topK": 4, "numDraftTokens": 8}, "needs draft.topK 1"),
    ("spec.draft", {"numSteps": 5}, "draft.numSteps + 1"),
    ("spec.draft", {"numSteps": 3, "numDraftTokens": 3}, "draft.numSteps + 1"),
    ("spec.draft", {"numSteps": 0}, "numSteps"),
    ("spec.draft", {"numSteps": 99, "numDraftTokens": 100}, "numSteps"),
    ("spec.draft", {"algorithm": "MEDUSA"}, "algorithm"),
    ("spec.draft", {"algorithm": "DFLASH"}, "which an engine can switch on"),
    ("spec.draft", {"algorithm": "DFLASH", "topK": 2, "numDraftTokens": 8}, "is a token tree"),
    ("spec.draft", {"shape": {"numHiddenLayers": 5}}, "always has so many"),
    ("spec.draft", {"draftVocabSize": 0}, "draftVocabSize"),
    ("spec.draft", {"auxLayers": [1, 2]}, "auxLayers"),
    ("spec.draft", {"auxLayers": [1, 2, 3, 4]}, "auxLayers"),
    ("spec.draft", {"shape": {"headDim": 3}}, "headDim"),
    ("spec.draft", {"shape": {"numAttentionHeads": 5, "numKeyValueHeads": 2}}, "multiple of"),
    ("spec.draft", {"shape": {"numAttentionHeads": 5}}, "or neither"),
    ("spec.draft", {"auxLayers": [1, 2, 2]}, "must be different layers"),
    ("spec.draft", {"auxLayers": [-1, 2, 3]}, "must be different layers"),
    ("spec.draft", {"checkpoint": "/etc/passwd"}, "checkpoint"),
    ("spec.draft", {"checkpoint": "a/b/c"}, "checkpoint"),
    ("spec.draft", {"checkpoint": "org/draft; true"}, "checkpoint"),
    ("spec.draft", WITH_DRAFT, "name its volume"),
    ("spec.draft", {"revision": "$(reboot)"}, "revision"),
    ("spec.draft", {"steps": 3}, "unknown field"),
    ("spec.target", None, "spec.target"),
    ("spec.target", {}, "model"),
    ("spec.target", {"model": ""}, "model"),
    ("spec.target", {"model": LONG + LONG}, "model"),
    ("spec.target", {"model": "org/model; rm -rf /"}, "model"),
    ("spec.target", {"model": "$(reboot)"}, "model"),
    ("spec.target", {"model": "../../etc"}, "model"),
    ("spec.target", {"model": "a/b/c"}, "model"),
    ("spec.target", {"model": "/model"}, "target.volume"),
    ("spec.target", {"model": "/data/x", "volume": {"claimName": "c"}}, "must be /model"),
    ("spec.target", {"model": "org/model", "volume": {"claimName": "c"}}, "must be /model"),
    ("spec.target", {"model": "/model", "volume": {"claimName": "Not_A_Name"}}, "claimName"),
    ("spec.target", {"model": "org/model", "dtype": "int3"}, "dtype"),
    ("spec.target", {"model": "org/model", "revision": "main; true"}, "revision"),
    ("spec.target", {"model": "org/model", "trustRemoteCode": "yes"}, "trustRemoteCode"),
    ("spec.target", {"model": "org/model", "tokenSecret": {"name": "hf"}}, "key"),
    ("spec.serving", {"replicas": 0}, "replicas"),
    ("spec.serving", {"replicas": -1}, "replicas"),
    ("spec.serving", {"replicas": 1.5}, "replicas"),
    ("spec.serving", {"replicas": "two"}, "replicas"),
    ("spec.serving", {"device": "tpu"}, "device"),
    ("spec.serving", {"podTemplate": {"spec": {"containers": [{"name": "engine", "args": ["-c"]}]}}}, "extraArgs"),
    (
        "spec.serving",
        {"podTemplate": {"spec": {"containers": [{"name": "agent", "command": ["sh"]}]}}},
        "operator owns",
    ),
    ("spec.serving", {"podTemplate": {"spec": {"restartPolicy": "Never"}}}, "restartPolicy"),
    ("spec.serving", {"podTemplate": {"spec": {"containers": [{"image": "x"}]}}}, "name"),
    ("spec.serving", {"podTemplate": {"spec": {"toleratons": [{"operator": "Exists"}]}}}, "unknown field"),
    ("spec.training", {"podTemplate": {"spec": {"nodeSelecter": {"gpu": "h100"}}}}, "unknown field"),
    ("spec.training", {"podTemplate": {"metadata": "x"}}, "podTemplate.metadata"),
    ("spec.training", {"podTemplate": {"spec": {"volumes": [{"emptyDir": {}}]}}}, "name"),
    ("spec.training", {"podTemplate": {"spec": {"containers": [{"name": "a", "env": [{"value": "x"}]}]}}}, "name"),
    ("spec.training", {"podTemplate": {"spec": {"containers": [{"name": "a", "ports": [{}]}]}}}, "containerPort"),
    ("spec.training", {"podTemplate": {"spec": {"tolerations": [{"operator": "Exists"}] * 65}}}, "at most 64"),
    ("spec.training", {"podTemplate": {"spec": {"nodeSelector": {"a": "x" * 1025}}}}, "nodeSelector"),
    ("spec.promotion.prometheus", {"url": "http://p", "caSecret": {"name": "a", "key": "b"}}, "not https"),
    (
        "spec.promotion.prometheus",
        {"url": "http://p", "bearerTokenSecret": {"name": "a", "key": "b"}, "basicAuthSecret": "c"},
        "remove the other",
    ),
    ("spec.promotion.recheckSeconds", -1, "recheckSeconds"),
    ("spec.serving", {"port": 80}, "port"),
    ("spec.serving", {"port": 70000}, "port"),
    ("spec.serving", {"tensorParallelSize": 0}, "tensorParallelSize"),
    ("spec.serving", {"image": "image with spaces"}, "image"),
    ("spec.serving", {"image": "x;curl evil"}, "image"),
    ("spec.serving", {"resources": {"limits": {"memory": "8 gigabytes"}}}, "memory"),
    ("spec.serving", {"resources": {"limits": {"memory": "8GB"}}}, "memory"),
    ("spec.serving", {"extraArgs": ["--model-path", "/x"]}, "the operator owns"),
    ("spec.serving", {"extraArgs": ["--host=0.0.0.0"]}, "the operator owns"),
    ("spec.serving", {"extraArgs": ["--admin-api-key", "x"]}, "the operator owns"),
    ("spec.serving", {"extraArgs": ["--speculative-num-steps=9"]}, "the operator owns"),
    ("spec.serving", {"extraArgs": ["--trust-remote-cod"]}, "the operator owns"),
    ("spec.serving", {"extraArgs": ["--model", "/x"]}, "the operator owns"),
    ("spec.serving", {"extraArgs": ["--speculative-alg=NGRAM"]}, "the operator owns"),
    ("spec.serving", {"extraArgs": ["--config", "/etc/x"]}, "the operator owns"),
    ("spec.serving", {"extraArgs": ["--tokenizer-worker-num=2"]}, "the operator owns"),
    ("spec.serving", {"extraArgs": ["--grpc-port=1"]}, "the operator owns"),
    ("spec.serving", {"extraArgs": ["--fastapi-root-path=/x"]}, "the operator owns"),
    ("spec.serving", {"extraArgs": ["--ssl-keyfile-password", "x"]}, "the operator owns"),
    ("spec.serving", {"extraArgs": [LONG * 5]}, "extraArgs"),
    ("spec.serving", {"extraArgs": ["--hf-token", "x"]}, "resembles a key or token"),
    ("spec.serving", {"extraArgs": ["--log-level=sk-abcdefghij"]}, "resembles a key or token"),
    ("spec.serving", {"extraArgs": ["a", "eyJhbGciOiJI.eyJzdWIi.c2ln"]}, "resembles a key or token"),
    ("spec.serving", {"extraArgs": ["https://user:pass@host"]}, "resembles a key or token"),
    ("spec.serving", ADAPTERS, "cannot change draft steps"),
    ("spec.serving", {"extraArgs": ["--lora-p=a=/model/a"]}, "cannot change draft steps"),
    ("spec.serving", {"extraArgs": ["--enable-lora"]}, "cannot change draft steps"),
    ("spec.serving", {"device": "cpu", "extraArgs": ["--enable-lora"]}, "does not serve on a CPU"),
    ("spec.samples", {"mooncakeMetadata": "http://user:password@m/x"}, "contains a user or password"),
    ("spec.samples", {"mooncakeMetadata": "https://token@m"}, "contains a user or password"),
    ("spec.serving", {"replica": 2}, "unknown field"),
    ("spec.serving", {"adopt": {"selector": {"app": "x"}}, "replicas": 2}, "leaves the engine pods to who made them"),
    (
        "spec.serving",
        {"adopt": {"selector": {"app": "x"}}, "podTemplate": {}},
        "leaves the engine pods to who made them",
    ),
    ("spec.serving", {"adopt": {"selector": {}}}, "selector"),
    ("spec.serving", {"adopt": {"selector": {"app": "x y"}}}, "selector"),
    ("spec.training", {"gpus": 0}, "gpus"),
    ("spec.training", {"gpus": 17}, "gpus"),
    ("spec.training", {"nodes": 0}, "nodes"),
    ("spec.training", {"nodes": 65}, "nodes"),
    ("spec.training", {"gpus": 2, "device": "cpu"}, "use training.nodes"),
    ("spec.training", {"queueName": "Night"}, "queueName"),
    ("spec.training", {"gpuResource": "gpu"}, "gpuResource"),
    ("spec.training", {"gpuResource": "kubernetes.io/gpu"}, "keeps for itself"),
    ("spec.serving", {"gpuResource": "batch.kubernetes.io/gpu"}, "keeps for itself"),
    (
        "spec.serving",
        {"gpuResource": "amd.com/gpu", "resources": {"limits": {"nvidia.com/gpu": "1"}}},
        "names another GPU resource",
    ),
    ("spec.training", {"hyperparameters": {"lr": 0}}, "lr"),
    ("spec.training", {"hyperparameters": {"lr": "fast"}}, "lr"),
    ("spec.training", {"hyperparameters": {"tttLength": 0}}, "tttLength"),
    ("spec.training", {"hyperparameters": {"holdoutFraction": 0.9}}, "holdoutFraction"),
    ("spec.training", {"hyperparameters": {"learning_rate": 1}}, "unknown field"),
    ("spec.samples", {"sampleRate": 1.1}, "sampleRate"),
    ("spec.samples", {"sampleRate": -0.1}, "sampleRate"),
    ("spec.samples", {"transport": "Kafka"}, "transport"),
    ("spec.samples", {"transport": "Mooncake"}, "mooncakeMaster"),
    ("spec.samples", {"mooncakeMaster": "nowhere"}, "mooncakeMaster"),
    ("spec.weights", {"claimName": "x", "template": {"size": "1Gi"}}, "exclude each other"),
    ("spec.weights", {"template": {"size": "20GB"}}, "size"),
    ("spec.weights", {"template": {"accessMode": "ReadOnlyMany"}}, "accessMode"),
    ("spec.weights", {"keep": 1}, "keep"),
    ("spec.promotion", {}, "promotion.prometheus.url"),
    ("spec.promotion", {"strategy": "Canary"}, "promotion.prometheus.url"),
    ("spec.promotion.strategy", "Canary", "more serving.replicas"),
    ("spec.promotion.strategy", "Blindly", "strategy"),
    ("spec.promotion.prometheus", {"url": "prometheus:9090"}, "url"),
    ("spec.promotion.prometheus", {"url": "http://x y"}, "url"),
    ("spec.promotion.prometheus", {"url": "javascript:alert(1)"}, "url"),
    ("spec.promotion.gate", {"confidence": 1.0}, "confidence"),
    ("spec.promotion.gate", {"confidence": 0.5}, "confidence"),
    ("spec.promotion.gate", {"minRequests": 0}, "minRequests"),
    ("spec.promotion.gate", {"onInconclusive": "Shrug"}, "onInconclusive"),
    ("spec.promotion.guards", [{"name": "errors", "query": "up"}], "a guard needs a limit"),
    ("spec.promotion.guards", [{"name": "e", "query": "up", "maxRatioToStable": 2}], "$version"),
    ("spec.promotion.strata", strata(by="Header"), "needs header"),
    ("spec.promotion.strata", strata(by="Adapter", header="x-team"), "neither header nor salt"),
    ("spec.promotion.strata", strata(header="x-team", salt="12345678"), "belongs to by: HeaderHash"),
    ("spec.promotion.strata", strata(by="HeaderHash", header="x-key", salt="12345678"), "64 hexadecimal digits"),
    ("spec.promotion.strata", strata(header="authorization"), "use by: HeaderHash"),
    ("spec.promotion.strata", strata("other", header="x-team"), "belongs to no named one"),
    ("spec.promotion.strata", strata("a", "a", header="x-team"), "a name twice"),
    ("spec.promotion.strata", strata("Law", header="x-team"), "name"),
    ("spec.promotion.strata", strata(header="X-Team"), "header"),
    ("spec.promotion.strata", strata(*"abcdefgh", header="x-team"), "named"),
    ("spec.promotion.strata", strata(header="x-team", maxRegression=1), "maxRegression"),
    ("spec.promotion.strata", {**strata(header="x-team", weight=0), "other": {"weight": 0}}, "no weight above 0"),
    ("spec.suspend", "later", "suspend"),
    ("metadata.name", "a" * 41, "metadata.name"),
    ("metadata.name", "9lives", "metadata.name"),
    ("metadata.name", "Chat", "name"),
    ("spec.unknown", True, "unknown field"),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD, ids=[f"{i}-{p}" for i, (p, _, _) in enumerate(BAD)])
def test_a_bad_resource_is_refused_with_a_message(path, value, message):
    done = apply(changed(path, value), "--dry-run=server")
    assert done.returncode != 0, done.stdout
    assert message in done.stderr


def test_none_of_them_is_stored():
    # In their namespace; other tests that run meanwhile have their own.
    assert kubectl("get", "specdep", "-n", "default", "-o", "name").stdout == ""


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.target.model", "org/other"),
        ("spec.target.dtype", "float16"),
        ("spec.mode", "ExternalWithDraft"),
        ("spec.target.revision", "v2"),
        ("spec.draft", {"draftVocabSize": 1234}),
        ("spec.draft", {"auxLayers": [1, 2, 3]}),
        ("spec.draft", {"shape": {"numAttentionHeads": 64, "numKeyValueHeads": 16, "headDim": 128}}),
        ("spec.weights", {"claimName": "other"}),
        ("spec.target", {"model": "/model", "volume": {"claimName": "c"}}),
        ("spec.serving", {"adopt": {"selector": {"app": "x"}}}),
    ],
)
def test_what_every_version_depends_on_cannot_change(path, value):
    assert apply(GOOD).returncode == 0
    try:
        done = apply(changed(path, value))
        assert done.returncode != 0
        assert "make another" in done.stderr or "needs draft.checkpoint" in done.stderr
    finally:
        assert kubectl("delete", "specdep", "chat", "--wait").returncode == 0


def test_of_a_claim_only_the_size_can_change_and_it_can_only_grow():
    try:
        assert apply(GOOD).returncode == 0
        for template, message in (
            ({"size": "10Gi"}, ""),
            ({"size": "20Gi"}, ""),
            ({"size": "1000Mi"}, "can only grow"),
            (
                {"size": "20Gi", "accessMode": "ReadWriteOnce"},
                "weights.template.storageClassName, accessMode cannot change",
            ),
            (
                {"size": "20Gi", "storageClassName": "fast"},
                "weights.template.storageClassName, accessMode cannot change",
            ),
        ):
            done = apply(changed("spec.weights", {"template": template}))
            assert (done.returncode != 0) == bool(message), done.stderr
            assert message in done.stderr
    finally:
        assert kubectl("delete", "specdep", "chat", "--wait").returncode == 0


@pytest.mark.parametrize(
    "body",
    [
        GOOD,
        changed("spec.serving", {"replicas": 3, "extraArgs": ["--mem-fraction-static", "0.8"]}),
        changed("spec", {**GOOD["spec"], "mode": "ExternalWithDraft", "draft": {"checkpoint": "org/draft"}}),
        changed("spec", {**GOOD["spec"], "mode": "ExternalWithDraft", "draft": TREE, "serving": ADAPTERS}),
        changed("spec.promotion", {"strategy": "Manual"}),
        changed("spec.serving", {"adopt": {"selector": {"app.kubernetes.io/name": "sglang"}}, "extraArgs": ["--x"]}),
        changed("spec.promotion.strata", strata(*"abcdefg", header="x-team")),
        changed("spec.promotion.strata", strata(by="Adapter", weight=0)),
        changed(
            "spec.promotion.strata",
            strata(by="HeaderHash", header="authorization", salt="a salt of mine".replace(" ", "-"), value="0" * 64),
        ),
        changed("spec.target", {"model": "/model/llama", "volume": {"claimName": "models"}}),
        changed(
            "spec.samples",
            {"transport": "Mooncake", "mooncakeMaster": "m:50051", "mooncakeMetadata": "http://m/x?a=b@c"},
        ),
    ],
)
def test_good_ones_pass(body):
    done = apply(body, "--dry-run=server")
    assert done.returncode == 0, done.stderr


def test_every_field_explains_itself():
    done = kubectl("explain", "specdep.spec", "--recursive")
    assert done.returncode == 0
    for field in (
        "spec.promotion.gate.confidence",
        "spec.training.hyperparameters.tttLength",
        "status.candidate.lower",
    ):
        text = kubectl("explain", f"specdep.{field}").stdout
        assert "DESCRIPTION" in text
        assert "<empty>" not in text


def test_the_scale_subresource_scales():
    assert apply(GOOD).returncode == 0
    try:
        assert kubectl("scale", "specdep", "chat", "--replicas=4").returncode == 0
        assert kubectl("get", "specdep", "chat", "-o", "jsonpath={.spec.serving.replicas}").stdout == "4"
    finally:
        kubectl("delete", "specdep", "chat", "--wait")
