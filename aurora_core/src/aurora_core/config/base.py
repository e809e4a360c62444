"""The base of every configuration model: strict, frozen, snake_case in Python and camelCase in YAML."""

from typing import get_args

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo


class Config(BaseModel):
    """A block of settings. Unknown keys are errors; both snake_case and camelCase keys are read."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        # A configuration can carry a token: an error names the field and what is wrong, never what it was set to.
        hide_input_in_errors=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


def block_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a block of settings, also where it may be absent; None of any other field."""
    for found in (field.annotation, *get_args(field.annotation)):
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return None
