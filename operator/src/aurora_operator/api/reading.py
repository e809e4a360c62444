"""Stored resources, read leniently: what a newer operator or CRD wrote stops no older one."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aurora_core.printable import printable
from pydantic import ValidationError

from aurora_operator.api.schema import spec_schema, status_schema
from aurora_operator.api.spec import Spec
from aurora_operator.api.status import HISTORY, Status
from aurora_operator.errors import SpecError

_MOST_PROBLEMS = 5
_MOST_NAME = 80
_MOST_ROUNDS = 50
_PYTHON: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "object": Mapping,
    "array": list,
}


@dataclass(frozen=True)
class Reading:
    """A resource as the operator understands it.

    Attributes:
        spec, status: what it understands.
        ignored: paths of fields that it does not know and ignores.
    """

    spec: Spec
    status: Status
    ignored: tuple[str, ...]


class _Form:
    """Compares a value with a structural schema. No deeper than the schema is, however deep the value."""

    def __init__(self) -> None:
        self.ignored: list[str] = []
        self.problems: list[str] = []

    def known(self, value: Any, schema: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 (JSON)
        """The value without fields that the schema does not have."""
        if value is None:
            return None
        if not self._is_of(value, schema):
            self.problems.append(f"{path}: must be {schema.get('type', 'integer or string')}")
            return None
        if "properties" in schema:
            return self._fields(value, schema, path)
        if "additionalProperties" in schema:
            inner = schema["additionalProperties"]
            return {name: self.known(part, inner, self._below(path, name)) for name, part in value.items()}
        if "items" in schema:
            self.problems += [f"{path}[{i}]: must not be null" for i, part in enumerate(value) if part is None]
            return [self.known(part, schema["items"], f"{path}[{i}]") for i, part in enumerate(value)]
        return value

    @staticmethod
    def _is_of(value: Any, schema: Mapping[str, Any]) -> bool:  # noqa: ANN401 (JSON)
        expected = _PYTHON[schema["type"]] if "type" in schema else (int, str)
        return isinstance(value, expected) and (not isinstance(value, bool) or expected is bool)

    @staticmethod
    def _below(path: str, name: object) -> str:
        return f"{path}.{printable(str(name), _MOST_NAME)}"

    def _fields(self, value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> dict[str, Any]:
        fields = schema["properties"]
        self.ignored += [self._below(path, name) for name in value if name not in fields]
        self.problems += [
            f"{path}.{name}: is missing" for name in schema.get("required", ()) if value.get(name) is None
        ]
        return {
            name: self.known(part, fields[name], self._below(path, name))
            for name, part in value.items()
            if name in fields
        }


@functools.cache
def _schemas() -> tuple[dict[str, Any], dict[str, Any]]:
    return spec_schema(), status_schema()


def _refuse(problems: list[str]) -> SpecError:
    more = f"; and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
    return SpecError(f"the resource cannot be read: {'; '.join(problems[:_MOST_PROBLEMS])}{more}")


def _path(first: str, at: tuple[int | str, ...]) -> str:
    return ".".join((first, *(printable(str(part), _MOST_NAME) for part in at)))


def _where(error: ValidationError, path: str) -> list[str]:
    return [
        f"{_path(path, one['loc'])}: {printable(one['msg'], 300)}"
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _spec(data: object) -> tuple[Spec, tuple[str, ...]]:
    form = _Form()
    if not isinstance(data, Mapping):
        raise _refuse(["spec: must be object"])
    given = form.known(data, _schemas()[0], "spec")
    if form.problems:
        raise _refuse(form.problems)
    try:
        return Spec.model_validate(given), tuple(form.ignored)
    except ValidationError as error:
        raise _refuse(_where(error, "spec")) from None


def _drop(data: dict[str, Any], at: tuple[int | str, ...]) -> bool:
    """Remove the smallest piece of a status that is of use without the rest; returns whether there was one.

    A condition and an entry of the history go alone, a trial goes as one; anything else as the field that it is.
    """
    first, *rest = at
    piece = data.get(str(first))
    if isinstance(piece, list) and rest and isinstance(rest[0], int):
        piece[rest[0]] = None
        return True
    if isinstance(piece, dict) and rest and first != "candidate" and rest[0] in piece:
        del piece[rest[0]]
        return True
    return data.pop(str(first), None) is not None


_NEEDED = ("decided",), ("stable",), ("stable", "version"), ("stable", "steps"), ("stable", "since")
"""What cannot be guessed: without it, an operator would serve another version, or try again what was rejected."""


def _status(data: object) -> tuple[Status, tuple[str, ...]]:
    """The status without what cannot be read of it.

    Raises:
        SpecError: what serves, or what was decided, cannot be read.
    """
    if data is None:
        return Status(), ()
    form = _Form()
    left = form.known(data, _schemas()[1], "status")
    needed = {_path("status", at) for at in _NEEDED} | {"status"}
    if any(problem.partition(":")[0] in needed for problem in form.problems):
        raise _refuse(form.problems)
    dropped = [problem.partition(":")[0] for problem in form.problems]
    if isinstance(left.get("history"), list):
        left["history"] = left["history"][:HISTORY]
    for _ in range(_MOST_ROUNDS):
        # What has the wrong type is None; a status says nothing by null that it does not say by leaving it out.
        left = {name: _without_holes(piece) for name, piece in left.items() if piece is not None or (name,) in _NEEDED}
        try:
            return Status.model_validate(left), tuple(dict.fromkeys(dropped))
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            if any(one["loc"] in _NEEDED for one in found):
                raise _refuse(_where(error, "status")) from None
            dropped += [_path("status", one["loc"]) for one in found if _drop(left, one["loc"])]
    raise _refuse(["status: cannot be read"])


def _without_holes(piece: Any) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(piece, list):
        return [_without_holes(item) for item in piece if item is not None]
    if isinstance(piece, dict):
        return {name: part for name, part in piece.items() if part is not None}
    return piece


def read(body: Mapping[str, Any]) -> Reading:
    """A resource's spec and status.

    A field of the spec that this operator does not know, and a piece of the status that it cannot read, are left out
    and named: a newer version wrote them. A longer history is cut.

    Raises:
        SpecError: what is left cannot be worked with; says which fields, and never quotes a value.
    """
    spec, ignored = _spec(body.get("spec"))
    status, dropped = _status(body.get("status"))
    return Reading(spec, status, (*ignored, *dropped))
