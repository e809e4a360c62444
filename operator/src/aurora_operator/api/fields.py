"""What several parts of the spec are made of."""

from typing import Annotated, Any

from aurora_core.config.base import Config
from pydantic import ConfigDict, Field

_DNS = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=_DNS)]


def rules(*rules: tuple[str, str]) -> ConfigDict:
    """CEL rules of a model: (expression, message)."""
    validations: list[Any] = [{"rule": rule, "message": message} for rule, message in rules]
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": validations})


def unchanged(*fields: str) -> str:
    """A CEL expression: none of these fields changes; the name of one that may be absent ends with ``?``."""

    def same(field: str) -> str:
        new, old = f"self.{field.rstrip('?')}", f"oldSelf.{field.rstrip('?')}"
        if field.endswith("?"):
            return f"has({new}) == has({old}) && (!has({new}) || {new} == {old})"
        return f"{new} == {old}"

    return " && ".join(map(same, fields))


class SecretKey(Config):
    """A key of a Secret in the resource's namespace."""

    name: Name
    """Name of the Secret."""
    key: str = Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")
    """Key in it."""
