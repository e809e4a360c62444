"""The commands about data sets and what drafts make of them, and their options."""

import argparse
from pathlib import Path

from aurora_core.cli import data, measuring, offline, recommending
from aurora_core.cli.draft_commands import FORMS, Add


def count(text: str) -> int:
    """An integer from 1.

    Raises:
        ArgumentTypeError: it is none.
    """
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected an integer from 1, got {text}")
    return number


def add(command: Add, process: Add) -> None:
    """The commands about data sets."""
    generate = command("generate", "Have the target answer conversations, and write its answers as JSON lines.")
    generate.add_argument("prompts", type=Path, nargs="+", help=FORMS)
    where = generate.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="of an OpenAI-compatible server; with AURORA_API_KEY where that is set")
    where.add_argument("--target", type=Path, help="folder of the target: SGLang is started with it, and stopped")
    generate.add_argument("--model", default="", help="name at the server, by default the first that it has")
    generate.add_argument("--out", type=Path, required=True, help="JSON lines; a file that is there is continued")
    generate.add_argument("--concurrency", type=count, default=16, help="conversations at a time")
    generate.add_argument("--max-tokens", type=count, default=512, help="of each answer")
    generate.add_argument("--temperature", type=float, default=0.0)
    generate.add_argument("--domain-field", help="field with a conversation's domain, by default its file's name")
    generate.set_defaults(run=data.generate)

    train = process(
        "train-offline", "Train on recorded samples or on answers, without an engine, and publish versions."
    )
    learned = train.add_mutually_exclusive_group(required=True)
    learned.add_argument("--spool", type=Path, help="folder of recorded samples, which stay there")
    learned.add_argument("--prompts", type=Path, nargs="+", help=f"answers of the target: {FORMS}")
    length = train.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=count, default=1, help="how often each sample is used")
    length.add_argument("--steps", type=count, help="optimizer steps instead")
    train.set_defaults(run=offline.train)

    evaluate = command("evaluate", "Simulate a draft's accept length on answers of its target.")
    evaluate.add_argument("draft", type=Path, help="folder of the draft")
    _add_measuring(evaluate)
    evaluate.add_argument("--url", help="of a running SGLang, whose speed on the same prompts is measured")
    evaluate.add_argument("--concurrency", type=count, default=1, help="requests at a time there")
    evaluate.add_argument("--answer-tokens", type=count, default=256, help="of an answer there at most")
    evaluate.set_defaults(run=measuring.evaluate)

    compare = command("compare", "Simulate two drafts on the same answers, and show by how much they differ.")
    compare.add_argument("one", type=Path, help="folder of a draft")
    compare.add_argument("other", type=Path, help="folder of another draft")
    _add_measuring(compare)
    compare.set_defaults(run=measuring.compare)

    recommend = command(
        "recommend", "Show which draft steps, branches and draft tokens give the most tokens per second."
    )
    recommend.add_argument("draft", type=Path, help="folder of the draft")
    _add_measuring(recommend, steps=8)
    recommend.add_argument(
        "--measure",
        type=recommending.engine,
        action="append",
        metavar="STEPS:TOKENS:URL",
        help="a running SGLang with its draft steps and draft tokens, 0:1 without speculation; give several",
    )
    recommend.add_argument("--concurrency", type=count, default=1, help="requests at a time there")
    recommend.add_argument("--answer-tokens", type=count, default=128, help="of an answer there at most")
    recommend.add_argument(
        "--target-ms", type=float, help="of the target's pass over one token, where nothing is measured"
    )
    recommend.add_argument("--draft-ms", type=float, help="of a draft step")
    recommend.add_argument(
        "--verify-ms", type=float, default=0.0, help="of each further token that the target verifies"
    )
    recommend.set_defaults(run=recommending.recommend)


def _add_measuring(command: argparse.ArgumentParser, steps: int = 3) -> None:
    command.add_argument("--target", type=Path, required=True, help="folder of the target")
    command.add_argument("--prompts", type=Path, nargs="+", required=True, help=f"with answers: {FORMS}")
    command.add_argument("--domain-field", help="field with a conversation's domain, by default its file's name")
    command.add_argument("--steps", type=count, default=steps, help="draft steps of a verify cycle, at most")
    command.add_argument("--max-tokens", type=count, default=8192, help="of a sample; the front of a longer one is cut")
    command.add_argument("--confidence", type=float, default=0.95, help="of the intervals")
    command.add_argument("-o", "--output", choices=("text", "json"), default="text")
