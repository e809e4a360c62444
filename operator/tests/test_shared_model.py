"""One model of what the resource and the processes both have: declared once, and passed on by selection."""

import pytest
from aurora_core.config import DraftConfig, SamplesConfig, ServingConfig, TargetConfig, WeightsConfig
from aurora_core.config.strata import StrataConfig, StratumConfig
from aurora_operator.api.models import DraftSpec, TargetSpec
from aurora_operator.api.promotion import Strata, Stratum
from aurora_operator.api.spec import SamplesSpec, ServingSpec
from aurora_operator.api.volume import WeightsSpec
from aurora_operator.render.config import configured, deployment_config, engine_part, trainer_part
from aurora_operator.render.identity import Resource
from operator_support import a_spec

PAIRS = [
    (TargetSpec, TargetConfig),
    (DraftSpec, DraftConfig),
    (ServingSpec, ServingConfig),
    (SamplesSpec, SamplesConfig),
    (WeightsSpec, WeightsConfig),
    (Strata, StrataConfig),
    (Stratum, StratumConfig),
]
SPEC = a_spec(
    mode="ExternalWithDraft",
    target={"model": "/model/x", "dtype": "float16", "volume": {"claimName": "models"}, "revision": "a"},
    draft={"checkpoint": "org/d", "topK": 2, "numDraftTokens": 8, "auxLayers": [1, 2, 3], "revision": "b"},
    serving={"device": "cpu", "port": 3000, "threads": 4, "maxTotalTokens": 1000, "extraArgs": ["--a"]},
    samples={
        "transport": "Mooncake",
        "mooncakeMaster": "m:1",
        "mooncakeMetadata": "http://m",
        "mooncakeProtocol": "rdma",
        "sampleRate": 0.5,
        "poolSize": 7,
        "maxAgeSeconds": 100,
    },
    weights={"keep": 9},
)


def a_resource(**spec):
    return Resource("chat", "ns", "u-1", a_spec(**spec))


@pytest.mark.parametrize(("part", "process"), PAIRS)
def test_what_both_have_is_of_a_model_that_both_build_on(part, process):
    both = part.model_fields.keys() & process.model_fields.keys()
    common = [one for one in part.__mro__ if one in process.__mro__ and hasattr(one, "model_fields")]
    assert both
    assert both == common[0].model_fields.keys()


def test_every_shared_field_reaches_the_processes_as_it_is():
    made = deployment_config(Resource("chat", "ns", "u-1", SPEC))
    for name, (part, process) in zip(("target", "draft", "serving", "samples", "weights"), PAIRS, strict=False):
        given, got = getattr(SPEC, name), getattr(made, name)
        assert type(got) is process
        fields = part.model_fields.keys() & process.model_fields.keys()
        assert {f: getattr(got, f) for f in fields} == {f: getattr(given, f) for f in fields}
        # One that is its default would be equal also where it is not passed on.
        assert any(getattr(got, f) != process.model_fields[f].default for f in fields)


def test_a_store_that_the_resource_does_not_name_is_the_processes_default():
    samples = deployment_config(a_resource()).samples
    assert (samples.mooncake_master, samples.mooncake_metadata) == (
        SamplesConfig().mooncake_master,
        SamplesConfig().mooncake_metadata,
    )


def test_an_upgrade_that_should_restart_no_engine_restarts_none():
    """Another hash here replaces every engine pod at an upgrade: then the changelog must say so."""
    assert configured(a_resource(), "engine") == "89d21fd2fb2d7f7a"


def test_fields_of_mooncake_that_came_later_reach_processes_where_they_are_set():
    given = {"mooncakeBufferBytes": 1 << 28, "mooncakeReplicas": 2, "mooncakeSoftPin": True}
    made = engine_part(Resource("chat", "ns", "u-1", a_spec(samples=given)))["samples"]
    assert made.items() >= given.items()
    assert not engine_part(a_resource())["samples"].keys() & given.keys()


def test_a_rate_that_is_left_open_is_left_to_the_trainer_whatever_its_release():
    assert "lr" not in trainer_part(a_resource())["training"]
    chosen = a_spec(training={"hyperparameters": {"lr": 1e-4}})
    assert trainer_part(Resource("chat", "ns", "u-1", chosen))["training"]["lr"] == 1e-4


def test_strata_reach_engines_by_name_alone_and_without_any_the_configuration_is_as_it_was():
    def engine(**promotion):
        promotion = {"prometheus": {"url": "http://p"}, **promotion}
        return engine_part(Resource("chat", "ns", "u-1", a_spec(promotion=promotion)))["serving"]

    assert "strata" not in engine()
    named = {"name": "law", "values": ["l"]}
    strata = {"by": "Header", "header": "x-team", "named": [named]}
    shown = engine(strata=strata)["strata"]
    assert (shown["by"], shown["header"], shown["named"]) == ("Header", "x-team", [named])
    heavier = {**strata, "named": [{**named, "weight": 3, "maxRegression": 0.2}], "other": {"weight": 0}}
    assert engine(strata=heavier)["strata"] == shown
    kept_out = {**named, "capture": False}
    assert engine(strata={**strata, "named": [kept_out]})["strata"]["named"] == [kept_out]
