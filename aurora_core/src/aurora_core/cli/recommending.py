"""The command that recommends how many tokens to draft."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from aurora_core.cli.measuring import answers_of, read_draft, teacher_of

if TYPE_CHECKING:
    from aurora_core.evaluation.recommendation import Costs

_SHOWN = 8
_WIDTH = 8


def engine(text: str) -> tuple[int, int, str]:
    """``STEPS:TOKENS:URL`` of the command line."""
    steps, _, rest = text.partition(":")
    tokens, _, url = rest.partition(":")
    if not (steps.isdecimal() and tokens.isdecimal() and url):
        message = f"expected STEPS:TOKENS:URL, such as 3:4:http://127.0.0.1:30000, and got {text!r}"
        raise argparse.ArgumentTypeError(message)
    if int(tokens) < int(steps) + 1:
        message = f"{steps} draft steps verify at least {int(steps) + 1} tokens, not {tokens}"
        raise argparse.ArgumentTypeError(message)
    return int(steps), int(tokens), url


def _costs(arguments: argparse.Namespace, prompts: list[str]) -> "Costs":
    from aurora_core.errors import ConfigError  # noqa: PLC0415
    from aurora_core.evaluation import recommendation  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.evaluation.speed import cycle_milliseconds  # noqa: PLC0415

    if arguments.measure:
        return recommendation.fit(
            [
                recommendation.Cycle(
                    steps,
                    tokens,
                    cycle_milliseconds(url, prompts, arguments.concurrency, arguments.answer_tokens),
                )
                for steps, tokens, url in arguments.measure
            ]
        )
    if arguments.target_ms is None or arguments.draft_ms is None:
        raise ConfigError("give --target-ms and --draft-ms, or engines to measure with --measure STEPS:TOKENS:URL")
    if min(arguments.target_ms, arguments.draft_ms, arguments.verify_ms) < 0 or not arguments.target_ms:
        raise ConfigError("costs are milliseconds from 0, and the target's is above 0")
    return recommendation.Costs(arguments.target_ms, arguments.draft_ms, arguments.verify_ms)


def recommend(arguments: argparse.Namespace) -> None:
    """The choices that give the most tokens per second, by one pass over answers and what a cycle's parts cost."""
    from aurora_core.evaluation import recommendation  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.evaluation.ranks import ranks  # noqa: PLC0415
    from aurora_core.models.target import Target  # noqa: PLC0415

    target = Target(arguments.target)
    draft = read_draft(arguments.draft, target)
    answers = answers_of(arguments, target, draft)
    costs = _costs(arguments, answers.prompts)
    teacher = teacher_of(draft, target)
    width = min(_WIDTH, draft.ids.numel())
    found = ranks(draft.to(teacher.device), teacher, answers.samples, steps=arguments.steps, width=width)
    ordered = recommendation.choices(found, costs)
    off = next(one for one in ordered if not one.num_steps)
    if arguments.output == "json":
        shown = [{**asdict(one), "tokens_per_second": one.tokens_per_second} for one in ordered]
        print(json.dumps({"costs": asdict(costs), "choices": shown}, indent=2))
        return
    print(
        f"a cycle: {costs.target:.2f} ms, {costs.draft:.2f} a draft step, {costs.verify:.2f} a further token verified"
    )
    print(
        f"{'num_steps':>9} {'top_k':>6} {'num_draft_tokens':>17} {'accept length':>14} {'ms':>8} "
        f"{'tokens/s':>9} {'x off':>6}"
    )
    for one in (*ordered[:_SHOWN], *([off] if off not in ordered[:_SHOWN] else [])):
        speed = one.tokens_per_second
        print(
            f"{one.num_steps:>9} {one.top_k:>6} {one.num_draft_tokens:>17} {one.accept_length:>14.3f} "
            f"{one.milliseconds:>8.2f} {speed:>9.1f} {speed / off.tokens_per_second:>6.2f}"
        )
    if ordered[0] == off:
        print("no speculation is faster than this draft's")
