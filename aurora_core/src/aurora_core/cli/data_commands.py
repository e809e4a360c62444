"""What can be said on the command line about data sets and what drafts make of them."""

import argparse
from pathlib import Path

from aurora_core.cli import data
from aurora_core.cli.draft_commands import Add

_FORMS = 'JSON lines or a JSON array of {"messages": [...]} or {"conversations": [...]}'


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text}")
    return number


def add(command: Add) -> None:
    """The commands about data sets."""
    generate = command("generate", "Have the target answer conversations, and write its answers as JSON lines.")
    generate.add_argument("prompts", type=Path, nargs="+", help=_FORMS)
    where = generate.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="of an OpenAI-compatible server; with AURORA_API_KEY where that is set")
    where.add_argument("--target", type=Path, help="folder of the target: SGLang is started with it, and stopped")
    generate.add_argument("--model", default="", help="name at the server, by default the first that it has")
    generate.add_argument("--out", type=Path, required=True, help="JSON lines; a file that is there is continued")
    generate.add_argument("--concurrency", type=_count, default=16, help="conversations at a time")
    generate.add_argument("--max-tokens", type=_count, default=512, help="of each answer")
    generate.add_argument("--temperature", type=float, default=0.0)
    generate.add_argument("--domain-field", help="field with a conversation's domain, by default its file's name")
    generate.set_defaults(run=data.generate)
