"""What capture at rate 1.0 costs serving: tokens per second with capture on over off, blocks side by side in one run.

Blocks of the same prompts alternate off, on, on, off ... so that drift of the machine cancels. No trainer runs; the
samples are written to the spool as in production.
"""

import statistics

from aurora_core.evaluation.requests import measure
from bench import arguments, report, stack


def _block(url: str, texts: list[str], concurrency: int, tokens: int) -> float:
    """Tokens per second of one block of ordinary, captured requests."""
    measured = measure(url, texts, concurrency, tokens, prefix="bench-")
    if measured.failures:
        raise SystemExit(f"failed: {measured.failures[:3]}")
    return measured.tokens_per_second


def main() -> None:
    """Run the blocks and print the ratio."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--pairs", type=int, default=6, help="pairs of blocks")
    parser.add_argument("--prompts", type=int, default=16, help="prompts of a block")
    options = parser.parse_args()
    with stack(options.config) as (config, running, prompts):
        running.start_engine()
        running.start_agent()
        running.set_steps(config.draft.num_steps)
        texts = prompts[: options.prompts]
        concurrency, tokens = config.traffic.concurrency, config.traffic.max_new_tokens
        _block(running.url, texts, concurrency, tokens)
        speeds: dict[bool, list[float]] = {False: [], True: []}
        for pair in range(options.pairs):
            for on in (False, True) if pair % 2 == 0 else (True, False):
                running.agent.set_sample_rate(1.0 if on else 0.0)
                speeds[on].append(_block(running.url, texts, concurrency, tokens))
                print(f"pair {pair} capture {'on ' if on else 'off'} {speeds[on][-1]:.1f} tokens/s", flush=True)
        captured = running.agent.live().capture
        ratios = [on / off for on, off in zip(speeds[True], speeds[False], strict=True)]
        spread = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else 0.0
        report(
            "capture_cost",
            on_over_off=round(statistics.mean(ratios), 4),
            standard_error=round(spread, 4),
            off=round(statistics.mean(speeds[False]), 1),
            on=round(statistics.mean(speeds[True]), 1),
            samples=captured.samples,
            dropped=dict(captured.dropped),
        )


if __name__ == "__main__":
    main()
