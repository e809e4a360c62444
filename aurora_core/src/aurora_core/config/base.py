"""The base of every configuration model: strict, frozen, snake_case in Python and camelCase in YAML."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


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
