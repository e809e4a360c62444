"""The commands that measure drafts on answers of their target."""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from aurora_core.cli.terminal import printable_lines

if TYPE_CHECKING:
    from aurora_core.drafts.family import Draft, Teacher
    from aurora_core.evaluation.accept import Accepted
    from aurora_core.evaluation.intervals import Estimate
    from aurora_core.models.target import Target
    from aurora_core.samples.schema import Sample


@dataclass(frozen=True)
class Answers:
    """Samples of answers, the domain of each, and the text of its prompt."""

    samples: "list[Sample]"
    domains: list[str]
    prompts: list[str]


def read_draft(folder: Path, target: "Target") -> "Draft":
    """A draft that fits a target."""
    from aurora_core.config import DraftConfig  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.training.init import first_draft  # noqa: PLC0415
    from aurora_core.weights.inspection import recognised  # noqa: PLC0415

    return first_draft(DraftConfig(algorithm=recognised(folder), checkpoint=str(folder)), target, 0)


def answers_of(arguments: argparse.Namespace, target: "Target", draft: "Draft") -> Answers:
    """The answers of the files, with the target's hidden states at each of their tokens."""
    from aurora_core.datasets import answers, conversations  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.datasets.states import HiddenStates  # noqa: PLC0415
    from aurora_core.training.start import device_here  # noqa: PLC0415

    found = answers.of(conversations.read(arguments.prompts, arguments.domain_field), target)
    states = HiddenStates.load(target, draft.config.aux_layers, device_here())
    kept = [one for one in found if one.tokens.shape[0] > one.prompt_tokens + 1]
    samples = [states.sample(one).cut(arguments.max_tokens) for one in tqdm(kept, desc="hidden states")]
    return Answers(samples, [one.domain for one in kept], [one.prompt for one in kept])


def teacher_of(draft: "Draft", target: "Target") -> "Teacher":
    """What a draft is simulated against, on this machine's device."""
    from aurora_core.arithmetic import training_precision  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.drafts.family import Teacher  # noqa: PLC0415
    from aurora_core.training.start import device_here  # noqa: PLC0415

    device = device_here()
    return Teacher.of(target, draft, training_precision("auto", device), device)


def _simulated(draft: "Draft", target: "Target", samples: "list[Sample]", steps: int) -> "Accepted":
    from aurora_core.evaluation.accept import simulate  # noqa: PLC0415 (torch and more: only where needed)

    teacher = teacher_of(draft, target)
    return simulate(draft.to(teacher.device), teacher, samples, steps=steps)


def _text(estimate: "Estimate", sign: str = "") -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{sign}.3f}"
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"


def _print(found: dict[str, Any], output: str, lines: list[str]) -> None:
    print(json.dumps(found, indent=2) if output == "json" else printable_lines("\n".join(lines)))


def evaluate(arguments: argparse.Namespace) -> None:
    """Accept length of a draft, simulated on answers of its target; with a URL also what its engine does."""
    from aurora_core.evaluation import measured  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.evaluation.speed import speed  # noqa: PLC0415
    from aurora_core.models.target import Target  # noqa: PLC0415

    target = Target(arguments.target)
    draft = read_draft(arguments.draft, target)
    answers = answers_of(arguments, target, draft)
    parts = measured.parts(
        _simulated(draft, target, answers.samples, arguments.steps),
        answers.domains,
        arguments.steps,
        arguments.confidence,
    )
    found: dict[str, Any] = {"steps": arguments.steps, "simulated": [asdict(part) for part in parts]}
    heading = "".join(f"{f'step {k + 1}':>8}" for k in range(arguments.steps))
    lines = [f"{'domain':<20} {'requests':>8} {'cycles':>8}  {'accept length':<22}{heading}"]
    for part in parts:
        shares = "".join(f"{'-' if share is None else f'{share:.1%}':>8}" for share in part.positions)
        row = f"{part.domain:<20} {part.requests:>8} {part.cycles:>8}  {_text(part.accept_length):<22}{shares}"
        lines.append(row)
    if arguments.url is not None:
        engine = speed(arguments.url, answers.prompts, arguments.concurrency, arguments.answer_tokens)
        found["engine"] = asdict(engine)
        lines.append(
            f"engine: {engine.tokens_per_second:.1f} tokens per second at concurrency {arguments.concurrency}, "
            f"{_text(engine.request_tokens_per_second)} in a request, accept length {_text(engine.accept_length)}, "
            f"{engine.answered} answered, {engine.failed} failed"
        )
    _print(found, arguments.output, lines)


def compare(arguments: argparse.Namespace) -> None:
    """Two drafts on the same answers: the difference of their accept lengths, paired by request."""
    from aurora_core.errors import ConfigError  # noqa: PLC0415
    from aurora_core.evaluation import measured  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.models.target import Target  # noqa: PLC0415

    target = Target(arguments.target)
    drafts = [read_draft(folder, target) for folder in (arguments.one, arguments.other)]
    if drafts[0].config.aux_layers != drafts[1].config.aux_layers:
        layers = " and ".join(str(draft.config.aux_layers) for draft in drafts)
        raise ConfigError(f"the drafts are fed by different layers of the target, {layers}: evaluate each alone")
    answers = answers_of(arguments, target, drafts[0])
    one, other = (_simulated(draft, target, answers.samples, arguments.steps) for draft in drafts)
    found = measured.differences(one, other, answers.domains, arguments.confidence)
    lines = [f"{'domain':<20} {'requests':>8}  {'one':<22}{'other':<22}difference"]
    lines += [
        f"{part.domain:<20} {part.requests:>8}  {_text(part.one):<22}{_text(part.other):<22}"
        + _text(part.difference, "+")
        for part in found
    ]
    _print({"steps": arguments.steps, "compared": [asdict(part) for part in found]}, arguments.output, lines)
