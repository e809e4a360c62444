"""Are greedy answers with a trained draft those of target-only SGLang? Where one is not, was it a tie of rounding?

Takes the newest draft of a finished `make loop`. Logits and rounding at the differing token come from the target by
another implementation (transformers), see aurora_core.evaluation.identity.
"""

import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aurora_core.datasets.conversations import read_prompts
from aurora_core.engine.launch import engine_dtype
from aurora_core.evaluation.identity import LogitChecker
from aurora_core.evaluation.requests import measure
from bench import ROOT, arguments, report, stack
from transformers import AutoTokenizer


def main() -> None:
    """Ask both engines at once, compare, count; answers that part without a tie are printed."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--work", type=Path, default=ROOT / "work", help="folder of a finished loop")
    parser.add_argument("--prompts", type=int, default=100, help="prompts of each domain")
    parser.add_argument("--tokens", type=int, default=48, help="tokens of an answer")
    options = parser.parse_args()
    with (
        stack(options.config, work=options.work) as (config, running, first),
        stack(options.config) as (_, stock, _),
        ThreadPoolExecutor(2) as pool,
    ):
        tokenizer = AutoTokenizer.from_pretrained(running.target.path)
        second = read_prompts(config.traffic.shifted_prompts or config.traffic.prompts, tokenizer)
        texts = [*first[: options.prompts], *second[: options.prompts]]
        running.start_engine()
        running.start_agent()
        running.set_steps(config.draft.num_steps)
        stock.start_target_only()
        asked = [pool.submit(measure, engine.url, texts, 1, options.tokens) for engine in (running, stock)]
        speculated, plain = (each.result() for each in asked)
        dtype = engine_dtype(running.target.path, config.target, config.serving)
        counted = LogitChecker.load(running.target.path, dtype).identity(plain.ids, speculated.ids)
        both = [prompt for prompt in plain.answers if prompt in speculated.answers]
        for prompt, difference in zip(both, counted.differences, strict=True):
            if difference and not difference.is_tie:
                print(json.dumps({"prompt": prompt, "target_only": plain.answers[prompt].ids,
                                  "speculated": speculated.answers[prompt].ids, **vars(difference)}))  # fmt: skip
        gaps = [difference.gap / difference.rounding for difference in counted.differences if difference]
        report(
            "identity",
            draft_version=running.live,
            accept_length=round(speculated.accept_length, 3),
            answers=counted.compared,
            identical=counted.same,
            differing_at_a_tie=counted.ties,
            differing_otherwise=counted.unexplained,
            gap_over_rounding_median=round(statistics.median(gaps), 2) if gaps else None,
            gap_over_rounding_max=round(max(gaps), 2) if gaps else None,
            failed=len(speculated.failures) + len(plain.failures),
        )
        if counted.unexplained:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
