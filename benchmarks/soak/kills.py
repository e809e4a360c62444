"""kill -9 of trainer, agent, engine and sample store at random moments of the running loop.

Kills begin once a trained version is live. After each the process is started again, as a supervisor would. Then: every
version on disk verifies, none that had been published is lost, the engine serves a verified version, and training
resumes from its last saved step.
"""

import random
import time

from aurora_core.errors import AuroraError
from aurora_core.evaluation.requests import Stream
from aurora_demo.stack import Stack
from bench import arguments, report, stack
from workshop.waiting import NotInTimeError, wait

_WEIGHTS = {"trainer": 5, "agent": 3, "engine": 2, "store": 3}


def _restart(running: Stack, name: str) -> None:
    match name:
        case "trainer":
            running.start_trainer()
        case "agent":
            running.start_agent()
        case "engine":
            running.start_engine()
        case "store":
            running.start_store()


def _continues(running: Stack, seconds: float = 120) -> bool:
    """Whether new samples arrive and training takes further steps."""
    before = running.training()

    def further() -> bool:
        now = running.training()
        return now.received > before.received and now.step > before.step

    try:
        wait("training", further, seconds, every=1)
    except NotInTimeError:
        return False
    return True


def _trained_is_live(running: Stack, seconds: float = 600) -> None:
    """Until a trained version serves."""

    def live() -> bool:
        running.follow(speculate_at=1.2)
        return running.live > 0

    wait("a trained version that serves", live, seconds, every=2)


def main() -> None:
    """Kill, restart, check; then print what happened."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    order = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=options.kills)
    with stack(options.config, "Mooncake") as (config, running, prompts):
        running.start()
        traffic = Stream.start(running.url, prompts, config.traffic.concurrency, config.traffic.max_new_tokens)
        published: set[int] = set(running.store.versions())
        lost: set[int] = set()
        corrupt = refused = 0
        steps = []
        running.pinned = set(range(10_000))  # nothing is pruned, so anything that is missing was lost
        _trained_is_live(running)
        print(f"version {running.live} is live, {len(order)} kills begin", flush=True)
        for number, name in enumerate(order):
            time.sleep(rng.uniform(2, 25))
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
            live = running.agent.live().draft.live
            if live != running.live:
                raise SystemExit(f"the engine serves version {live}, not {running.live}")
            steps.append(running.training().step)
            print(f"kill {number}: {name}; live {live}, trained to step {steps[-1]}", flush=True)
        continued = _continues(running)
        rejected = dict(running.training().rejected)
        answered = len(traffic.record.answers)
        traffic.stop()
        report(
            "kills",
            kills={name: order.count(name) for name in _WEIGHTS},
            versions_published=len(published),
            versions_lost=len(lost),
            versions_corrupt=corrupt,
            loads_refused=refused,
            loop_continued=continued,
            samples_refused_since_the_last_trainer_start=rejected,
            requests_answered=answered,
        )
        if lost or corrupt or not continued:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
