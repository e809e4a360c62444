"""The base of everything that one process reads from another."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

MOST_TEXT = 500
"""Characters of another process's text that are kept."""

Number = Annotated[int, Field(ge=0, lt=2**53)]
"""A count or a version: no larger than JSON carries exactly."""
Text = Annotated[str, AfterValidator(lambda text: text[:MOST_TEXT])]
"""Text for people, cut to :data:`MOST_TEXT` characters."""


class MalformedError(ValueError):
    """What another process sent is not what the protocol declares."""


def explained(error: ValidationError) -> str:
    """Which fields are wrong and why, without a value: the sender is not trusted, and values may be credentials."""
    parts = (f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors(include_input=False))
    return "; ".join(parts)[:MOST_TEXT]


class Message(BaseModel):
    """Something read from another process, which may be of another version: fields it does not declare are ignored."""

    model_config = ConfigDict(
        allow_inf_nan=False,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    @classmethod
    def read(cls, sent: object) -> Self:
        """Parse what JSON decoding gave.

        Raises:
            MalformedError: a field is missing or has another type than is declared.
        """
        try:
            return cls.model_validate(sent)
        except ValidationError as error:
            raise MalformedError(explained(error)) from error

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return self.model_dump(mode="json", by_alias=True)


class Request(Message):
    """What a caller asks for: a field that is not declared is an error, because it would not be done."""

    model_config = ConfigDict(extra="forbid")


Counts = Mapping[str, Number]
"""A number for each of some fixed words."""
