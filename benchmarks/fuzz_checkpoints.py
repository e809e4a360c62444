"""Hostile checkpoints: drafts as ``inspect`` and loading read them, targets as training does. How many end either.

    PYTHONPATH=e2e python benchmarks/fuzz_checkpoints.py --rounds 10000

Each round is a draft and a target with some values of config.json replaced, left out, moved or nested, or with bytes,
header or numbers of model.safetensors changed. Each must be read, or refused by one of this project's errors; what
``inspect`` finds no problem with must load, and what is read must be finite. Anything else is a failure, printed with
the seed that repeats it.
"""

import logging
import random
import sys
import tempfile
import warnings
from pathlib import Path

import fuzzing
import hostile_checkpoints


def main() -> None:
    """Run the rounds."""
    options = fuzzing.arguments(__doc__)
    logging.disable()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="aurora-fuzz-") as root:
        good = hostile_checkpoints.target(Path(root) / "target")
        own, hostile = Path(root) / "draft", Path(root) / "hostile"
        hostile_checkpoints.draft(own, good)
        hostile.mkdir()
        of_draft, of_target = hostile_checkpoints.contents(own), hostile_checkpoints.contents(good.path)

        def draft(rng: random.Random) -> str:
            hostile_checkpoints.change(rng, of_draft, hostile)
            return hostile_checkpoints.read_draft(hostile, good)

        def target(rng: random.Random) -> str:
            hostile_checkpoints.change(rng, of_target, hostile)
            return hostile_checkpoints.read_target(hostile)

        sys.exit(fuzzing.search(options, {"draft": draft, "target": target}))


if __name__ == "__main__":
    main()
