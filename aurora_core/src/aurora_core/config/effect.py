"""What a change of a setting does to a deployment that runs."""

from collections.abc import Collection
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from aurora_core.config.base import block_of

EFFECT = "x-effect"
"""Key of an effect in a model's JSON schema."""


class Effect(StrEnum):
    """What a change of a field does; declared at the field, it applies to all that is inside.

    The resource's descriptions, the rules that refuse a change, the page of every field and the stamps by which pods
    are replaced are made of it, and a test checks what is rendered against it.
    """

    IN_PLACE = "Changed in place."
    ENGINES = "A change restarts the engines, one by one."
    TRAINER = "A change restarts the trainer."
    BOTH = "A change restarts the engines, one by one, and the trainer."
    REFUSED = "It cannot change: make another resource."

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The field's schema, with the effect in it."""
        return {**handler(schema), EFFECT: self.value}


def without(
    effects: Collection[Effect], model: type[BaseModel], inherited: Effect | None = None
) -> dict[str, bool | dict[str, Any]]:
    """Fields whose change does something else than these effects, as pydantic's ``exclude`` takes them.

    Args:
        effects: of the fields that stay.
        model: with the fields; those that say nothing stay.
        inherited: what the model's own field says.
    """
    out: dict[str, bool | dict[str, Any]] = {}
    for name, field in model.model_fields.items():
        effect = next((one for one in field.metadata if isinstance(one, Effect)), inherited)
        block = block_of(field)
        if block is not None:
            if inner := without(effects, block, effect):
                out[name] = inner
        elif effect is not None and effect not in effects:
            out[name] = True
    return out
