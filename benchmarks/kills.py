"""kill -9 of trainer, agent and engine at random moments of the running loop.

After each kill the process is started again, as a supervisor would. Then: every version on disk verifies, none that
had been published is lost, the engine serves a whole version, and training goes on from its last saved step.
"""

import random
import time

from aurora_core.errors import AuroraError
from aurora_core.loop.stack import Stack
from aurora_core.loop.traffic import Stream
from bench import arguments, report, stack

_WEIGHTS = {"trainer": 5, "agent": 3, "engine": 2}


def _restart(running: Stack, name: str) -> None:
    match name:
        case "trainer":
            running.start_trainer()
        case "agent":
            running.start_agent()
        case "engine":
            running.start_engine()


def main() -> None:
    """Kill, restart, check; then print what happened."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    order = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=options.kills)
    with stack(options.config) as (config, running, prompts):
        running.start_engine()
        running.start_agent()
        running.start_trainer()
        traffic = Stream(running.url, prompts, config.traffic.concurrency, config.traffic.max_new_tokens)
        published: set[int] = set(running.store.versions())
        lost: set[int] = set()
        corrupt = refused = 0
        steps = []
        running.pinned = set(range(10_000))  # nothing is retired, so anything that is missing was lost
        for number, name in enumerate(order):
            time.sleep(rng.uniform(2, 10))
            published |= set(running.store.versions())
            try:
                running.follow(speculate_at=1.2)
            except AuroraError as error:
                refused += 1
                print(f"refused: {error}")
            running.processes[name].kill()
            _restart(running, name)
            for version in running.store.versions():
                try:
                    running.store.verify(version)
                except AuroraError as error:
                    corrupt += 1
                    print(f"corrupt: {error}")
            lost |= published - set(running.store.versions())
            live = running.agent.live()["draft"]["live"]
            if live != running.live:
                raise SystemExit(f"the engine serves version {live}, not {running.live}")
            steps.append(float(running.training().get("train/step", 0)))
            print(f"kill {number}: {name}; live {live}, trained to step {steps[-1]:.0f}", flush=True)
        deadline = time.monotonic() + 120
        last = steps[-1]
        while running.training().get("train/step", 0) <= last and time.monotonic() < deadline:
            time.sleep(1)
        went_on = running.training().get("train/step", 0) > last
        answered = len(traffic.record.answers)
        traffic.stop()
        report(
            "kills",
            kills={name: order.count(name) for name in _WEIGHTS},
            versions_published=len(published),
            versions_lost=len(lost),
            versions_corrupt=corrupt,
            loads_refused=refused,
            training_went_on=went_on,
            requests_answered=answered,
        )
        if lost or corrupt or not went_on:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
