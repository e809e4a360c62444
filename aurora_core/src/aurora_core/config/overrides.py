"""Single settings that replace those of a configuration file: ``training.learning_rate=1e-4``."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from aurora_core.config.base import block_of
from aurora_core.errors import ConfigError


def _spellings(name: str, field: FieldInfo) -> set[str]:
    """All keys that a field is read from."""
    aliases = field.validation_alias
    choices = {str(one) for one in aliases.choices} if isinstance(aliases, AliasChoices) else {str(aliases or name)}
    return {name, *choices, *([field.alias] if field.alias else [])}


def _field(model: type[BaseModel], key: str, path: str) -> tuple[set[str], FieldInfo]:
    for name, field in model.model_fields.items():
        if key in (spellings := _spellings(name, field)):
            return spellings, field
    raise ConfigError(f"there is no setting {path}: {key!r:.60} is none of {', '.join(model.model_fields)}")


def _put(
    raw: Mapping[str, Any], model: type[BaseModel], keys: Sequence[str], value: object, path: str
) -> dict[str, Any]:
    spellings, field = _field(model, keys[0], path)
    found = next((raw[key] for key in raw if key in spellings), None)
    kept = {key: other for key, other in raw.items() if key not in spellings}
    if len(keys) > 1:
        inner = block_of(field)
        if inner is None:
            raise ConfigError(f"there is no setting {path}: {keys[0]} is no block of settings")
        value = _put(found if isinstance(found, Mapping) else {}, inner, keys[1:], value, path)
    return {**kept, keys[0]: value}


def overridden(raw: object, model: type[BaseModel], settings: Sequence[str]) -> object:
    """A configuration with some settings replaced, in the order given; their values are YAML.

    Args:
        raw: what a file says; checked elsewhere.
        model: of the configuration.
        settings: each a dotted name, in any spelling that a file may have, an equals sign and a value.

    Raises:
        ConfigError: a name is no setting, or a value is no YAML.
    """
    if settings and not isinstance(raw, Mapping):
        raw = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not (name and equals):
            raise ConfigError(f"expected NAME=VALUE, such as training.lr=1e-4, and got {setting!r:.80}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"the value of {name} is not YAML: {error}") from error
        raw = _put(raw, model, name.split("."), value, name)  # type: ignore[arg-type]
    return raw
