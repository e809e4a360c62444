"""How often the watch on stable cries wolf, and how soon it notices a fall.

A month of accept length that never changes but by traffic, minute by minute: requests with a spread of 20 % each around
a level that stays, wanders (an autoregressive process with a memory of an hour), follows the day, or drops for a day.
Each alarm is a challenge that changes nothing, after which stable is measured afresh; so each is false. Ways to alarm:
the product's, the product's without its month of patience, and an asymptotic confidence sequence over the last ten
minutes, read every minute, as it was before. Then the same with a draft that loses 10, 20 or 40 % at a moment: minutes
until the alarm.

Prints for each traffic: false challenges a month, mean over the seeds; and the median delays.
"""

import argparse
import json
import math
import platform
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from statistics import mean, median

from aurora_operator.promotion.statistics import Sums, half_width
from aurora_operator.promotion.watch import FALL, FEWEST, PATIENCE_SECONDS, Window, fell

MONTH = 30 * 24 * 60
HORIZON, EVERY = 360, 5
"""Minutes that are watched, and between two analyses."""
BASELINE = 20
SPREAD = 0.2
Level = Callable[[random.Random, int], list[float]]


def steady(_: random.Random, minutes: int) -> list[float]:
    """Nothing changes."""
    return [0.0] * minutes


def wandering(size: float) -> Level:
    """By a standard deviation of ``size``, with a memory of an hour."""

    def level(rng: random.Random, minutes: int) -> list[float]:
        keep, out, at = math.exp(-1 / 60), [], 0.0
        for _ in range(minutes):
            at = keep * at + math.sqrt(1 - keep**2) * rng.gauss(0, size)
            out.append(at)
        return out

    return level


def daily(size: float) -> Level:
    """A sine of a day."""
    return lambda _, minutes: [size * math.sin(2 * math.pi * at / 1440) for at in range(minutes)]


def hard_day(_: random.Random, minutes: int) -> list[float]:
    """The tenth day is harder by 15 %."""
    return [-0.15 if 10 <= at / 1440 < 11 else 0.0 for at in range(minutes)]


LEVELS: dict[str, Level] = {
    "steady": steady, "wanders by 5 %": wandering(0.05), "wanders by 10 %": wandering(0.1),
    "day of ± 10 %": daily(0.1), "one day 15 % harder": hard_day,
}  # fmt: skip


Minute = tuple[float, float]
"""Requests, and the log of their accept length."""


def minutes_of(rng: random.Random, level: Sequence[float], rate: float) -> list[Minute]:
    """Each minute's requests at ``rate`` a minute."""
    out: list[Minute] = []
    for at in level:
        count = sum(1 for _ in range(math.ceil(rate * 2)) if rng.random() < rate / math.ceil(rate * 2))
        out.append((float(count), at + rng.gauss(0, SPREAD / math.sqrt(count)) if count else 0.0))
    return out


def windows_of(minutes: Sequence[Minute]) -> list[Window]:
    """As the product joins time slices."""
    out, count, total = [], 0.0, 0.0
    for at, (requests, value) in enumerate(minutes):
        count, total = count + requests, total + requests * math.exp(value)
        if count >= FEWEST:
            out.append(Window(60.0 * (at + 1), math.log(total / count)))
            count, total = 0.0, 0.0
    return out


def sums_of(minutes: Sequence[Minute]) -> Sums:
    """Minutes as units."""
    return Sums.of((requests * math.exp(value), requests) for requests, value in minutes if requests)


def by_detector(minutes: Sequence[Minute], held: float, variance: float) -> bool:
    """The product's."""
    return fell(windows_of(minutes[-HORIZON:]), held, variance)


def by_sequence(minutes: Sequence[Minute], held: float, variance: float) -> bool:
    """Over the last ten minutes."""
    now = sums_of(minutes[-10:])
    found = now.log_variance()
    if found is None or now.ratio is None or sum(requests for requests, _ in minutes[-10:]) < BASELINE:
        return False
    width = half_width(max(found + variance, 1e-8), 0.05)
    return math.log(now.ratio / held) + width < math.log1p(-FALL)


RULES = {
    "e-detector and a month's patience": (by_detector, EVERY, PATIENCE_SECONDS / 60),
    "e-detector alone": (by_detector, EVERY, 60.0),
    "last ten minutes, before": (by_sequence, 1, 60.0),
}


def alarms(minutes: Sequence[Minute], rule: str, *, first: bool = False) -> list[int]:
    """Minutes of the alarms; each is followed by a trial of an hour, and stable is measured afresh."""
    decides, every, patience = RULES[rule]
    out: list[int] = []
    begun, held = 0, None
    for at in range(BASELINE, len(minutes), every):
        if held is None:
            base = sums_of(minutes[begun:at])
            variance = base.log_variance()
            if base.n >= BASELINE and base.ratio is not None and variance is not None:
                held = base.ratio, variance
            continue
        if out and at - out[-1] < patience:
            continue
        if decides(minutes[max(begun, at - HORIZON) : at], *held):
            out.append(at)
            begun, held = at + 60, None
            if first:
                break
    return out


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="months of each traffic")
    options = parser.parse_args()
    rows = []
    print(f"| traffic | requests a minute | {' | '.join(RULES)} |")
    print("|---" * (2 + len(RULES)) + "|")
    for name, level in LEVELS.items():
        for rate in (1.0, 10.0):
            counts: dict[str, list[int]] = {rule: [] for rule in RULES}
            for seed in range(options.seeds):
                rng = random.Random(f"{name}/{rate}/{seed}")
                minutes = minutes_of(rng, level(rng, MONTH), rate)
                for rule, found in counts.items():
                    found.append(len(alarms(minutes, rule)))
            rows.append({"traffic": name, "rate": rate, **{rule: mean(found) for rule, found in counts.items()}})
            print(f"| {name} | {rate:.0f} | " + " | ".join(f"{mean(found):.1f}" for found in counts.values()) + " |")
    print(f"\n| fall | requests a minute | {' | '.join(RULES)} |")
    print("|---" * (2 + len(RULES)) + "|")
    for fall in (0.1, 0.2, 0.4):
        for rate in (1.0, 10.0):
            delays: dict[str, list[float]] = {rule: [] for rule in RULES}
            for seed in range(4 * options.seeds):
                rng = random.Random(f"{fall}/{rate}/{seed}")
                fallen = [0.0] * 720 + [math.log1p(-fall)] * 1440
                minutes = minutes_of(rng, fallen, rate)
                for rule, delay in delays.items():
                    after = [at - 720 for at in alarms(minutes, rule, first=True) if at >= 720]
                    delay.append(after[0] if after else math.inf)
            shown = {rule: median(delay) for rule, delay in delays.items()}
            rows.append({"fall": fall, "rate": rate, **{k: None if v == math.inf else v for k, v in shown.items()}})
            cells = ("not in a day" if v == math.inf else f"{v:.0f} min" for v in shown.values())
            print(f"| {fall:.0%} | {rate:.0f} | {' | '.join(cells)} |")
    heading = {"benchmark": "watch", "date": datetime.now(UTC).isoformat(timespec="seconds"),
               "machine": platform.machine(), "python": platform.python_version()}  # fmt: skip
    print(json.dumps({**heading, "seeds": options.seeds, "rows": rows}))


if __name__ == "__main__":
    main()
