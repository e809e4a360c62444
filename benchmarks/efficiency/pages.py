"""The pages below ``docs/experiments`` and their picture, made of what was measured."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from efficiency.compare import FEWEST_SEEDS, Effect, effect, length
from efficiency.questions import QUESTIONS, Question
from efficiency.results import Runs
from efficiency.variants import VARIANTS, A, B, Variant

_COLOURS = {"better": "#2b7bba", "worse": "#b03030", "not resolved": "#8c8c8c"}
_FEW_DOMAINS = 2
"""Of what a CPU has time for."""
_SAME_STEPS = ("baseline", "noise", "learning rate", "step weights", "betas", "gradient norm", "weight decay")
"""Groups whose variants cost what the baseline costs, but for unrolls of another length."""
Notes = Mapping[str, str]
"""By group, what was concluded and done; written by people."""


def _filled(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False)


def _effects(runs: Runs, variant: Variant, at: str) -> Effect | None:
    if variant.name not in runs.points or variant.against not in runs.points or variant.name == variant.against:
        return None
    one = runs.points[variant.against]
    return effect(one, runs.points[variant.name], (at, at), variant.measured)


def _shown(found: Effect | None) -> str:
    if found is None:
        return "|"
    low, high = found.change.low, found.change.high
    interval = "" if low is None or high is None else f" ({low:+.3f} to {high:+.3f})"
    return f"{found.change.value:+.3f}{interval} |"


def _seeds(found: Effect) -> str:
    return ", ".join(f"{one:+.3f}" for one in found.by_seed)


def _table(runs: Runs, question: Question) -> list[str]:
    rows = ["| variant | compared with | accept length | at equal tokens | each seed | at equal seconds | verdict |",
            "|---|---|---|---|---|---|---|"]  # fmt: skip
    for variant in VARIANTS:
        found = _effects(runs, variant, "tokens") if variant.group == question.group else None
        if found is None:
            continue
        timed = _effects(runs, variant, "seconds") if question.timed else None
        rows.append(
            f"| {variant.name} | {variant.against}: {found.before:.3f} | {found.after:.3f} | {_shown(found)} "
            f"{_seeds(found)} | {_shown(timed)} {found.verdict} |"
        )
    return rows


def _missing(runs: Runs, group: str) -> list[str]:
    names = [one.name for one in VARIANTS if one.group == group and len(runs.points.get(one.name, {})) < 2]
    return [f"Not measured with two seeds: {', '.join(names)}.", ""] if names else []


def _forgetting(runs: Runs) -> list[str]:
    rows = ["| variant | seeds | python at first | after email | kept | email | python again | back to |",
            "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for variant in (one for one in VARIANTS if one.group == "forgetting"):
        moments = [(A, "phase 0"), (A, "phase 1"), (B, "phase 1"), (A, "tokens")]
        first, left, other, back = (length(runs, variant.name, at, domains) for domains, at in moments)
        if None in (first, left, other, back):
            continue
        assert first and left and other and back  # noqa: S101, PT018 (of the line above)
        rows.append(
            f"| {variant.name} | {len(runs.points[variant.name])} | {first:.3f} | {left:.3f} | {left / first:.0%} "
            f"| {other:.3f} | {back:.3f} | {back / first:.0%} |"
        )
    return [*rows, ""] if len(rows) > 2 else []


def command(runs: Runs, names: list[str]) -> str:
    """What measures some variants again, as they were measured."""
    head = runs.heading
    how = "--device cuda --workers 8" if head["amount"]["domains"] > _FEW_DOMAINS else "--small --seconds 1800"
    only = " ".join(f'"{name}"' for name in names)
    size = f"--seeds {head['seeds']} --tokens {head['tokens']}"
    return f"python benchmarks/experiments.py measure {how} {size} --only {only}"


def _part(runs: Runs, question: Question, notes: Notes) -> list[str]:
    mine = [one for one in VARIANTS if one.group == question.group]
    rows = _table(runs, question)
    lines = [f"## {question.title}", "", _filled(question.text), ""]
    phases = _forgetting(runs) if question.group == "forgetting" else []
    compared = [*rows, ""] if len(rows) > 2 else []
    if not (phases or compared):
        return [*lines, "Not measured.", ""]
    lines += [*phases, *compared]
    if question.group in notes:
        lines += [_filled(notes[question.group]), ""]
    lines += _missing(runs, question.group)
    names = list(dict.fromkeys([name for one in mine if one.name in runs.points for name in (one.against, one.name)]))
    return [*lines, "```", command(runs, names), "```", ""]


def _range(runs: Runs) -> str:
    """Seconds of the same steps, from the least to the most."""
    names = [one.name for one in VARIANTS if one.group in _SAME_STEPS and "ttt_length" not in one.training]
    found = [of_seed["tokens"].seconds for name in names for of_seed in runs.points.get(name, {}).values()]
    return f"{min(found):.1f} to {max(found):.1f}"


def _seeds_of(runs: Runs) -> str:
    """How many the compared variants have."""
    counts = sorted({max(FEWEST_SEEDS, len(of_one)) for of_one in runs.points.values()})
    return " or ".join(map(str, counts))


def _method(runs: Runs) -> str:
    head, amount = runs.heading, runs.heading["amount"]
    base = head["baseline"]
    domains = ("two domains (python, email)", "four domains")[amount["domains"] > _FEW_DOMAINS]
    settings = ", ".join(f"{key} {value:g}" for key, value in base["training"].items())
    sampled = ", and once more at temperature 0.8" if "sampled" in amount["kinds"] else ""
    how = (
        f"SmolLM2-135M-Instruct answered {amount['prompts']} prompts of each of {domains} greedily, up to "
        f"{amount['tokens']} tokens each{sampled}; {amount['heldout']} prompts of each domain are held out. Every "
        f"variant trains an EAGLE3 draft from nothing with the project's own trainer on the same {head['tokens']:,} "
        f"generated tokens, counted each time that they are drawn; {_seeds_of(runs)} seeds. The accept length is "
        "simulated on held-out prompts with three draft steps: the verify cycles of greedy serving. The baseline has "
        f"a draft vocabulary of {base['vocabulary']} tokens, {base['batch']} samples a step, {base['warmup']} "
        f"steps of warm-up, and {settings}."
    )
    reading = (
        "*At equal tokens* is the difference to the variant that it is compared with, over all seeds together, "
        "with the interval that covers it with 95 % confidence over requests (paired, bias-corrected and accelerated "
        "bootstrap). It knows nothing of the seeds, so a difference is called better or worse only where the interval "
        "leaves zero out and every seed agrees; all else is not resolved. Of many comparisons some are resolved by "
        "chance. *At equal "
        f"seconds* each is measured when it was trained for {head['seconds']:.1f} seconds of its process. That is "
        f"rough, for other work on the machine made the same steps take {_range(runs)} seconds, and given only where "
        "a variant costs clearly more or less."
    )
    where = (
        f"{head['machine']}, torch {head['torch']}, transformers {head['transformers']}, {head['date'][:10]}; other "
        f"work shared the machine. Runs that ended with an error: {', '.join(runs.errors) or 'none'}."
    )
    return "\n\n".join(map(_filled, (how, reading, where)))


def _summary(runs: Runs) -> list[str]:
    rows = ["| experiment | better | worse | not resolved |", "|---|---|---|---|"]
    for question in QUESTIONS:
        cells: dict[str, list[str]] = {"better": [], "worse": [], "not resolved": []}
        for variant in (one for one in VARIANTS if one.group == question.group):
            found = _effects(runs, variant, "tokens")
            if found is not None:
                cells[found.verdict].append(f"{variant.name} ({found.change.value:+.3f})")
        if any(cells.values()):
            rows.append(f"| {question.title} | " + " | ".join("; ".join(one) for one in cells.values()) + " |")
    return [*rows, ""]


def picture(runs: Runs, path: Path) -> None:
    """Every difference at equal tokens with its interval."""
    found = [(one, e) for one in VARIANTS if (e := _effects(runs, one, "tokens")) is not None]
    found.sort(key=lambda pair: pair[1].change.value)
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.24 * len(found)), layout="constrained")
    for at, (_, e) in enumerate(found):
        low, high = e.change.low or e.change.value, e.change.high or e.change.value
        axes.plot([low, high], [at, at], color=_COLOURS[e.verdict], linewidth=2)
        axes.plot(e.by_seed, [at] * len(e.by_seed), "|", color="#555555", markersize=6)
        axes.plot(e.change.value, at, "o", color=_COLOURS[e.verdict], markersize=4)
    axes.axvline(0, color="#444444", linewidth=0.8)
    axes.set_yticks(range(len(found)), [one.name for one, _ in found], fontsize=8)
    axes.set_xlabel("change of accept length at equal tokens; point and interval over requests, marks: seeds")
    for verdict, colour in _COLOURS.items():
        axes.plot([], [], color=colour, label=verdict)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def write(runs: Runs, notes: Notes, folder: Path) -> None:
    """Write ``README.md`` and ``effects.png`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# Experiments on sample efficiency", "", _filled(notes.get("all", "")), "", _method(runs), "",
             *_summary(runs), "![Every difference with its interval](effects.png)", ""]  # fmt: skip
    for question in QUESTIONS:
        lines += _part(runs, question, notes)
    (folder / "README.md").write_text("\n".join(lines).rstrip() + "\n")
    picture(runs, folder / "effects.png")
