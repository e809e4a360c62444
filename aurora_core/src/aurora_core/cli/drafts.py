"""The commands about drafts: what one is, and what can be made of it."""

import argparse
import sys
from typing import TYPE_CHECKING

from aurora_core.cli.configured import configuration
from aurora_core.cli.paths import models_folder
from aurora_core.cli.terminal import printable_lines
from aurora_core.weights.signing import Signing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aurora_core.weights.inspection import Inspection


def _rows(found: "Inspection") -> "Iterator[tuple[str, str]]":
    """What a person reads, as a name and a text each."""
    yield "draft", found.path
    if found.algorithm is not None:
        yield "family", found.algorithm + (f", layout {found.layout}" if found.layout else "")
    if config := found.config:
        shown = {"vocab_size", "draft_vocab_size", "num_hidden_layers", "max_position_embeddings"}
        widths = (f"{name} {value}" for name, value in config.items() if type(value) is int and name not in shown)
        named = (
            f"fed by {', '.join(map(str, found.aux_layers))} of the target's"
            if found.aux_layers
            else "names none of the target's"
        )
        yield "layers", f"{config.get('num_hidden_layers', 1)}; {named}"
        yield "widths", ", ".join(widths)
        if norms := [name for name in ("norm_before_fc", "fc_norm", "norm_output") if config.get(name)]:
            yield "norms", ", ".join(norms)
        yield "vocabulary", f"{config.get('draft_vocab_size') or config['vocab_size']} of {config['vocab_size']} tokens"
    if found.tensors:
        yield "weights", f"{found.numbers} numbers in {found.tensors} tensors: {', '.join(found.dtypes)}"
    for name, size in found.files.items():
        yield "file", f"{size:>12} {name}"
    if (manifest := found.manifest) is not None:
        score, parent = manifest.holdout_accept_length, manifest.parent
        yield (
            "version",
            f"{manifest.version}, {'no parent' if parent is None else f'parent {parent}'}, {manifest.created:%F %T %Z}",
        )
        length = "unknown" if score is None else f"{score:.3f}"
        yield "trained", f"{manifest.step} optimizer steps, {manifest.tokens} tokens, held-out accept length {length}"
        yield "made by", f"image {manifest.provenance.image or 'unknown'}, {manifest.provenance.samples} samples"
        yield "signature", "there is one" if manifest.signature else "none"
    for problem in found.problems:
        yield "problem", problem
    if found.target is not None:
        yield "target", f"{'does not fit' if found.problems else 'fits'} {found.target}"


def reduce_vocabulary(arguments: argparse.Namespace) -> None:
    """Reduce a draft's vocabulary, and show what that keeps of the counted tokens at several sizes."""
    from aurora_core.config import DraftConfig  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.datasets import conversations  # noqa: PLC0415
    from aurora_core.drafts import reduce  # noqa: PLC0415
    from aurora_core.models import counting  # noqa: PLC0415
    from aurora_core.models.target import Target  # noqa: PLC0415
    from aurora_core.training.init import first_draft  # noqa: PLC0415
    from aurora_core.weights import checkpoint  # noqa: PLC0415
    from aurora_core.weights.inspection import recognised  # noqa: PLC0415

    folder, size, target = arguments.draft, arguments.size, Target(arguments.target)
    algorithm = recognised(folder)
    draft = first_draft(DraftConfig(algorithm=algorithm, checkpoint=str(folder)), target, 0)
    dtype = checkpoint.stored(folder, algorithm).dtype
    if arguments.counts is not None:
        counts = counting.read(arguments.counts, target.vocab_size)
    else:
        messages = [found.messages for found in conversations.read(arguments.prompts)]
        counts = counting.of_texts(counting.answers(messages), target)
    smaller = reduce.reduced(draft, counts, size)
    print(f"counted {int(counts.sum())} tokens, {int((counts > 0).sum())} different ones of {target.vocab_size}")
    print(f"{'tokens':>8}  {'coverage':>8}")
    for found, share in reduce.coverages(draft, counts, size):
        print(f"{found:>8}  {share:>8.2%}{'  <- written' if found == size else ''}")
    checkpoint.write_new(arguments.out, lambda part: checkpoint.write(part, smaller, dtype))
    print(f"{arguments.out}: can propose {size} tokens of {draft.ids.numel()} in {printable_lines(str(folder))}")


def convert(arguments: argparse.Namespace) -> None:
    """Write a draft in another layout, where it is the same draft there."""
    from aurora_core.weights import checkpoint, conversion  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.weights.inspection import recognised  # noqa: PLC0415

    stored = checkpoint.stored(arguments.draft, recognised(arguments.draft))
    after = conversion.converted(stored, arguments.to)
    checkpoint.write_new(arguments.out, lambda part: conversion.write(after, part))
    print(f"{arguments.out}: {arguments.to}, {len(after.tensors)} tensors; read back, it is the same draft")


def import_draft(arguments: argparse.Namespace) -> None:
    """Publish a draft of others as the next version, while no trainer writes."""
    from aurora_core.models.source import resolve  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.training import imported  # noqa: PLC0415
    from aurora_core.weights.lease import WriterLease  # noqa: PLC0415
    from aurora_core.weights.store import WeightsStore  # noqa: PLC0415

    config = configuration(arguments)
    target = resolve(config.target, arguments.models or models_folder(), download=False)
    with WriterLease(arguments.work / "training") as lease:
        store = WeightsStore(arguments.work / "weights", lease, Signing.from_environment())
        print(imported.publish(store, arguments.draft, config.draft, target).model_dump_json(indent=2))


def inspect(arguments: argparse.Namespace) -> None:
    """Show what a draft is; the exit status is 1 where it cannot be read or does not fit."""
    from aurora_core.models.target import Target  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.weights.inspection import inspect as inspected  # noqa: PLC0415

    target = None if arguments.target is None else Target(arguments.target)
    found = inspected(arguments.draft, target, Signing.from_environment())
    if arguments.output == "json":
        print(found.model_dump_json(indent=2))
    else:
        for name, text in _rows(found):
            print(f"{name:<11} {printable_lines(text)}")
    sys.exit(1 if found.problems else 0)
