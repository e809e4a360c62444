"""README's table of what a change of a field does, from what the fields themselves say."""

from collections.abc import Iterator, Mapping
from typing import Any

from aurora_core.config.effect import Effect

BEGIN, END = "<!-- made of the fields by tools/generate.py -->", "<!-- end -->"
_THEN = {
    Effect.IN_PLACE: "takes effect in place, no pod restarts",
    Effect.ENGINES: "engine pods are replaced one by one, without extra pods; with one replica that is a gap",
    Effect.TRAINER: "the trainer restarts and resumes from its last state",
    Effect.BOTH: "both",
    Effect.REFUSED: "refused: every version depends on them; make another resource",
}


def _leaves(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Effect]]:
    """Every field without fields of its own, and what it says that its change does."""
    if "properties" in schema and not path.endswith("podTemplate"):
        for name, part in schema["properties"].items():
            yield from _leaves(part, f"{path}.{name}" if path else name)
    else:
        yield path, next(effect for effect in Effect if schema["description"].endswith(effect))


def _collapsed(schema: Mapping[str, Any], path: str, most: Effect | None) -> Iterator[tuple[str, Effect]]:
    """Names of fields and of entire blocks, but for those with the effect that most of their block have."""
    effects = {effect for _, effect in _leaves(schema, path)}
    if len(effects) == 1:
        [effect] = effects
        if effect != most:
            yield path, effect
    else:
        for name, part in schema["properties"].items():
            yield from _collapsed(part, f"{path}.{name}", most)


def _rows(spec: Mapping[str, Any]) -> Iterator[tuple[str, Effect]]:
    for name, part in spec["properties"].items():
        found = [effect for _, effect in _leaves(part, name)]
        most = max(Effect, key=found.count)
        if len(set(found)) == 1:
            yield f"`{name}.*`" if "properties" in part else f"`{name}`", most
        elif 2 * found.count(most) > len(found) and most != Effect.REFUSED:
            yield f"other `{name}.*`", most
            yield from ((f"`{path}`", effect) for path, effect in _collapsed(part, name, most))
        else:
            yield from ((f"`{path}`", effect) for path, effect in _collapsed(part, name, None))


def table(spec: Mapping[str, Any]) -> str:
    """The table, as Markdown.

    Args:
        spec: the structural schema of a spec.
    """
    rows = list(_rows(spec))
    lines = (f"| {', '.join(name for name, of in rows if of == effect)} | {_THEN[effect]} |" for effect in Effect)
    return "\n".join(["| changed | then |", "|---|---|", *lines])


def readme(text: str, spec: Mapping[str, Any]) -> str:
    """README with the table in its place."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table(spec)}\n\n{END}{rest.partition(END)[2]}"
