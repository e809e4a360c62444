"""The commands about drafts, and their options."""

import argparse
from collections.abc import Callable
from pathlib import Path

from aurora_core.cli import drafts

FORMS = 'JSON lines or a JSON array of {"messages": [...]} or {"conversations": [...]}'
"""What a file of conversations is."""
Add = Callable[[str, str], argparse.ArgumentParser]
"""Adds a command by its name and what it does."""


def add(command: Add, process: Add) -> None:
    """The commands about drafts."""
    inspect = command("inspect", "Show what a draft's checkpoint is, and whether it fits a target.")
    inspect.add_argument("draft", type=Path, help="folder of the draft")
    inspect.add_argument("--target", type=Path, help="folder of the target")
    inspect.add_argument("-o", "--output", choices=("text", "json"), default="text")
    inspect.set_defaults(run=drafts.inspect)

    import_draft = process("import", "Publish a draft of others as the next version, while no trainer writes.")
    import_draft.add_argument("draft", type=Path, help="folder of the draft")
    import_draft.set_defaults(run=drafts.import_draft)

    smaller = command("reduce-vocabulary", "Reduce a draft's vocabulary to the tokens that are counted most.")
    smaller.add_argument("draft", type=Path, help="folder of the draft")
    smaller.add_argument("--target", type=Path, required=True, help="folder of the target")
    smaller.add_argument("--size", type=int, required=True, help="tokens that the new draft can propose")
    smaller.add_argument("--out", type=Path, required=True, help="new folder for it")
    counted = smaller.add_mutually_exclusive_group(required=True)
    counted.add_argument("--counts", type=Path, help='JSON object of token ids and counts, {"17": 4021}')
    counted.add_argument("--prompts", type=Path, nargs="+", help=f"{FORMS}; of answers, where there are any")
    smaller.set_defaults(run=drafts.reduce_vocabulary)

    convert = command("convert", "Write a draft in another layout, where that loses nothing.")
    convert.add_argument("draft", type=Path, help="folder of the draft")
    convert.add_argument("--to", choices=("sglang", "huggingface", "speculators"), required=True)
    convert.add_argument("--out", type=Path, required=True, help="new folder for it")
    convert.set_defaults(run=drafts.convert)
