"""Records the counters of a real engine under traffic, one draft after the other, for benchmarks/recorded_trials.py.

Takes the drafts of a finished `make loop`: the newest, the oldest trained one that is still there, and none. Each
serves the same endless traffic for some minutes; once per second the engine's counters are written down, as a
scrape would see them.
"""

import json
import time
from pathlib import Path

from aurora_core.evaluation.requests import Stream
from aurora_core.protocol.engine import ArmCounters, EngineState, measured
from aurora_demo.stack import Stack
from bench import ROOT, arguments, heading, report, stack

Row = list[float]


_COUNTERS = [name for name, _ in measured(ArmCounters)]


def _row(state: EngineState, version: int, steps: int) -> Row:
    """All counters of an arm, 0 before its first cycle."""
    arm = state.arm(version, steps)
    return [round(float(getattr(arm, name)), 6) for name in _COUNTERS]


def _serve(running: Stack, version: int, steps: int, seconds: float) -> list[Row]:
    """Let one arm serve; returns a row for each second, its time first."""
    running.load(version)
    running.set_steps(steps)
    # Requests that the arm before began are over by then.
    time.sleep(15)
    rows: list[Row] = []
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        rows.append([round(now, 2), *_row(running.agent.live(), version, steps)])
        time.sleep(1)
    return rows


def main() -> None:
    """Record and write."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--work", type=Path, default=ROOT / "work", help="folder of a finished loop")
    parser.add_argument("--minutes", type=float, default=5, help="of each draft")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "recorded.json")
    options = parser.parse_args()
    with stack(options.config, work=options.work) as (config, running, prompts):
        trained = [version for version in running.store.versions() if version > 0]
        running.start_engine()
        running.start_agent()
        running.agent.set_sample_rate(0)
        traffic = Stream.start(running.url, prompts, config.traffic.concurrency, config.traffic.max_new_tokens)
        arms = {"newest": (trained[-1], config.draft.num_steps), "older": (trained[0], config.draft.num_steps),
                "none": (trained[-1], 0)}  # fmt: skip
        recorded = {name: _serve(running, *arm, 60 * options.minutes) for name, arm in arms.items()}
        record = traffic.stop()
        columns = ["seconds", *_COUNTERS]
        counted = {"counted": "at each cycle"}
        text = {**heading("record"), **counted, "arms": arms, "columns": columns, "rows": recorded}
        options.out.write_text(json.dumps(text) + "\n")
        report("record", requests=len(record.answers), failed=len(record.failures), arms=arms)


if __name__ == "__main__":
    main()
