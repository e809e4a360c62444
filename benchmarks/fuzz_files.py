"""Hostile files on the volume: samples through the trainer's pool, manifests through the store. How many end either.

    PYTHONPATH=e2e python benchmarks/fuzz_files.py --rounds 10000

Each round is a sample and a manifest with some bytes changed, or with some values replaced, left out, moved or nested
and a checksum that is right again. A sample is taken in or refused, a manifest is read or its version passed over;
anything else is a failure, printed with the seed that repeats it.
"""

import logging
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import fuzzing
import hostile_files
import torch
from aurora_core.samples.pool import Pool
from aurora_core.samples.schema import Sample, decode, encode
from aurora_core.weights.store import WeightsStore
from aurora_core.weights.verification import MANIFEST

WIDTH, VOCAB = 8, 64


def _sample() -> bytes:
    tokens = torch.arange(12)
    return encode(Sample("request", tokens, 4, torch.ones(11, 3 * WIDTH), torch.ones(11, WIDTH), 0, "target"))


def _write(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"x")


def _decode(payload: bytes) -> Sample:
    return decode(
        payload, target="target", vocab_size=VOCAB, aux_width=3 * WIDTH, hidden=WIDTH, dtypes=(torch.float32,)
    )


def main() -> None:
    """Run the rounds."""
    options = fuzzing.arguments(__doc__)
    logging.disable()
    reasons: Counter[str] = Counter()
    payload = _sample()
    with tempfile.TemporaryDirectory(prefix="aurora-fuzz-") as folder:
        store = WeightsStore(Path(folder))
        for _ in range(2):
            store.publish(_write, target_fingerprint="t")
        path = store.folder(1) / MANIFEST
        text = path.read_text()

        def sample(rng: random.Random) -> str:
            pool = Pool(hostile_files.Source(hostile_files.sample(rng, payload)), _decode, size=2, heldout_size=2,
                        heldout_fraction=0.5)  # fmt: skip
            taken = pool.refill()
            reasons.update(pool.rejected)
            return "samples taken in" if taken else "samples refused"

        def manifest(rng: random.Random) -> str:
            path.write_bytes(hostile_files.manifest(rng, text))
            _, damaged = store.manifests()
            return "manifests refused" if damaged else "manifests read"

        failed = fuzzing.search(options, {"sample": sample, "manifest": manifest})
    print(f"refused samples by reason: {dict(reasons)}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
