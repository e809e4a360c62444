"""Hostile resources, children and agents' answers, through parse and plan: how many end a reconcile.

    PYTHONPATH=e2e python benchmarks/fuzz.py --rounds 10000

Each round is one reconcile without the network: a spec, a status, children, pods and answers, each with some parts
replaced, left out, repeated or added to, nested 300 levels deep among them. A round is refused (the resource gets the
condition SpecUnreadable) or planned; anything else is a failure, printed with the seed that repeats it.
"""

import random
import sys

import fuzzing
from hostile_rounds import round_of


def _reconcile(rng: random.Random) -> str:
    return "refused" if round_of(rng) is None else "planned"


if __name__ == "__main__":
    sys.exit(fuzzing.search(fuzzing.arguments(__doc__), {"reconcile": _reconcile}))
