"""The CRD is structural, and in step with the models."""

from pathlib import Path

import yaml
from aurora_core.config.arguments import CREDENTIAL
from aurora_operator.api.schema import crd
from aurora_operator.api.spec import Spec

ROOT = Path(__file__).parents[2]
SCHEMA = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def walk(schema, path=""):
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from walk(part, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if word in schema:
            yield from walk(schema[word], f"{path}[]")


def test_every_node_is_typed_and_nothing_is_left_open():
    for path, node in walk(SCHEMA):
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        assert not {"$ref", "anyOf", "oneOf", "allOf", "const", "title"} & set(node), path


def test_every_field_of_spec_and_status_is_described():
    for part in ("spec", "status"):
        for path, node in walk(SCHEMA["properties"][part]):
            # Below a podTemplate the fields are Kubernetes' own: `kubectl explain pod.spec` describes them.
            if path and not path.endswith("[]") and ".podTemplate." not in path:
                assert node.get("description"), path


def test_every_string_list_and_map_is_bounded():
    spec = SCHEMA["properties"]["spec"]
    for path, node in walk(spec):
        if node.get("type") == "string":
            assert "maxLength" in node or "enum" in node, path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path
        assert node.get("type") != "object" or "properties" in node or "additionalProperties" in node, path


def test_a_stored_resource_is_shallow():
    def depth(schema):
        parts = [*schema.get("properties", {}).values()]
        parts += [schema[word] for word in ("items", "additionalProperties") if word in schema]
        return 1 + max(map(depth, parts), default=0)

    assert depth(SCHEMA["properties"]["spec"]) < 20


def test_the_files_are_what_the_models_say():
    stored = yaml.safe_load((ROOT / "crds" / "speculatordeployments.yaml").read_text())
    assert stored == yaml.safe_load(yaml.safe_dump(crd()))


def test_the_examples_are_read_by_the_models():
    body = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
    spec = Spec.model_validate(body["spec"])
    assert spec.training.hyperparameters.ttt_length == spec.draft.num_steps


def test_the_chart_s_policy_knows_a_credential_as_arguments_do():
    policy = (ROOT / "charts" / "aurora-operator" / "templates" / "admission.yaml").read_text()
    assert f"t.matches('{CREDENTIAL}')" in policy


def test_no_column_has_a_priority_that_the_api_server_does_not_store():
    """Or Argo CD, which compares the definition with git, finds a change for ever."""
    (version,) = crd()["spec"]["versions"]
    found = [one.get("priority") for one in version["additionalPrinterColumns"]]
    assert set(found) == {None, 1}
