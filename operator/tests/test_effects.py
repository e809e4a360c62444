"""What a change of each field does is what the field says."""

import copy

import pytest
from aurora_core.config.effect import Effect
from aurora_operator.api.schema import spec_schema
from aurora_operator.api.spec import Spec
from aurora_operator.render import serving, training
from aurora_operator.render.identity import Images, Resource
from operator_support import a_spec

LABELLED = {"metadata": {"labels": {"team": "ml"}}}
FULL = a_spec(
    mode="ExternalWithDraft",
    target={"model": "/model/x", "volume": {"claimName": "models"}, "tokenSecret": {"name": "hub", "key": "token"}},
    draft={"checkpoint": "/model/d", "numSteps": 3, "topK": 2, "numDraftTokens": 8},
    serving={"replicas": 2, "apiKeySecret": {"name": "api", "key": "key"}},
    training={"hyperparameters": {"lrTotalSteps": 10}},
    samples={"transport": "Mooncake", "mooncakeMaster": "m:1", "mooncakeMetadata": "http://m"},
    promotion={
        "canary": {"route": {"name": "front"}},
        "prometheus": {
            "url": "http://m",
            "bearerTokenSecret": {"name": "token", "key": "token"},
            "caSecret": {"name": "ca", "key": "ca"},
        },
        "strata": {
            "by": "HeaderHash",
            "header": "x-user",
            "salt": "some-salt",
            "named": [{"name": "law", "values": ["a" * 64]}],
        },
    },
    weights={"template": {"size": "1Gi"}, "signing": {"secretName": "signing"}},
).model_dump(mode="json", by_alias=True)
OTHER = {
    "target.model": "/model/y", "draft.checkpoint": "/model/y", "draft.auxLayers": [1, 2, 4],
    "draft.shape.headDim": 64,
    "serving.extraArgs": ["--log-level"], "training.hyperparameters.betas": [0.8, 0.9],
    "samples.mooncakeMaster": "n:1", "samples.mooncakeMetadata": "http://n", "weights.template.size": "2Gi",
    "promotion.strata.by": "Header", "promotion.strata.header": "x-team", "promotion.strata.salt": "other-salt",
    "promotion.strata.named": [{"name": "law", "values": ["b" * 64]}],
    "promotion.prometheus.url": "http://n", "promotion.guards": [{"name": "g", "query": "up", "max": 1}],
    "serving.gpuResource": "amd.com/gpu", "training.gpuResource": "amd.com/gpu",
    "serving.podTemplate": LABELLED, "training.podTemplate": LABELLED,
}  # fmt: skip
"""Values that do not follow from a field's schema."""
ALONE = {"draft.algorithm"}
"""Fields that have one value."""


def leaves(schema, path=()):
    for name, part in schema["properties"].items():
        here = (*path, name)
        if name != "podTemplate" and "properties" in part:
            yield from leaves(part, here)
        else:
            yield ".".join(here), part


LEAVES = dict(leaves(spec_schema()))


def effect_of(part):
    return next((one for one in Effect if part["description"].endswith(one)), None)


def candidates(part, value):
    if "enum" in part:
        return part["enum"]
    if part["type"] in {"integer", "number"}:
        number = value or 0
        near = [number + 1, number - 1, number + 0.01, number - 0.01]
        return near if part["type"] == "number" else near[:2]
    return {"boolean": [not value], "object": [{"cpu": "7"}]}.get(part["type"], ["other"])


def changed(path):
    """Valid specs that have another value there."""
    *way, last = path.split(".")
    at = FULL
    for name in way:
        at = (at or {}).get(name)
    value = (at or {}).get(last)
    for other in [OTHER[path]] if path in OTHER else candidates(LEAVES[path], value):
        body = copy.deepcopy(FULL)
        here = body
        for name in way:
            here[name] = here.get(name) or {}
            here = here[name]
        here[last] = other
        if other != value:
            yield body


def templates(body):
    resource, images = Resource("chat", "ns", "u-1", Spec.model_validate(body)), Images("r/engine:1", "r/trainer:1")
    made = serving.deployment(resource, images, ""), training.trainer_job(resource, images, "")
    return [one["spec"]["template"] for one in made]


def restarted(path):
    for body in changed(path):
        try:
            now = templates(body)
        except ValueError:
            continue
        return tuple(before != after for before, after in zip(templates(FULL), now, strict=True))
    return None


def test_every_field_says_what_its_change_does():
    assert [path for path, part in LEAVES.items() if effect_of(part) is None] == []


@pytest.mark.parametrize("path", sorted(LEAVES.keys() - ALONE))
def test_a_change_does_what_the_field_says(path):
    says, does = effect_of(LEAVES[path]), restarted(path)
    assert does is not None, "no other value was tried"
    if says != Effect.REFUSED:
        expected = {Effect.ENGINES: (True, False), Effect.TRAINER: (False, True), Effect.BOTH: (True, True)}
        assert does == expected.get(says, (False, False))


def test_what_cannot_change_is_refused_by_a_rule_of_its_object():
    def rules(schema):
        yield from (one["message"] for one in schema.get("x-kubernetes-validations", ()))
        for part in schema.get("properties", {}).values():
            yield from rules(part)

    refused = [text.removesuffix(" cannot change: make another resource") for text in rules(spec_schema())
               if text.endswith("cannot change: make another resource")]  # fmt: skip
    named = {f"{names.split(', ')[0].rpartition('.')[0]}.{name.rpartition('.')[2]}".lstrip(".")
             for names in refused for name in names.split(", ")}  # fmt: skip
    fixed = {path for path, part in LEAVES.items() if effect_of(part) == Effect.REFUSED}
    assert {path for path in fixed if not any(path == one or path.startswith(f"{one}.") for one in named)} == set()
    assert len(named) > 10
