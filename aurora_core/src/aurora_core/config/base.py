"""The base of every configuration model: strict, frozen, snake_case in Python and camelCase in YAML."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Config(BaseModel):
    """A block of settings. Unknown keys are errors; both snake_case and camelCase keys are read."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )
