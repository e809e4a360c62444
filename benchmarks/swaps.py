"""Swaps under load: how long decoding stalls, and whether any request fails.

The stall is the engine's own measurement: the time in which its scheduler did nothing but the swap. The gap that a
client of a streamed answer sees is measured beside it.
"""

import json
import statistics
import threading
import time
from typing import Self

import httpx
from aurora_core.evaluation.requests import Stream
from aurora_core.protocol.request import NOT_CAPTURED
from aurora_core.training.init import first_draft
from aurora_core.weights import checkpoint
from bench import arguments, report, stack


class Listener:
    """Reads streamed answers one after the other and notes the longest gaps between two tokens."""

    def __init__(self, url: str, prompt: str) -> None:
        self.gaps: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(url, prompt), daemon=True)

    @classmethod
    def start(cls, url: str, prompt: str) -> Self:
        """Begin to read."""
        made = cls(url, prompt)
        made._thread.start()
        return made

    def _run(self, url: str, prompt: str) -> None:
        sampling = {
            "temperature": 0,
            "max_new_tokens": 400,
            "ignore_eos": True,
            "custom_params": dict(NOT_CAPTURED),
        }
        number = 0
        while not self._stop.is_set():
            number += 1
            body = {"text": prompt, "rid": f"listener-{number}", "stream": True, "sampling_params": sampling}
            with httpx.stream("POST", f"{url}/generate", json=body, timeout=120) as response:
                last = None
                for line in response.iter_lines():
                    if not line.startswith("data: {"):
                        continue
                    now = time.monotonic()
                    if last is not None:
                        self.gaps.append(now - last)
                    last = now
                    json.loads(line[6:])
                    if self._stop.is_set():
                        break

    def stop(self) -> list[float]:
        """End, and return all gaps in seconds."""
        self._stop.set()
        self._thread.join()
        return self.gaps


def main() -> None:
    """Swap and print the stalls."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--swaps", type=int, default=200)
    options = parser.parse_args()
    with stack(options.config) as (config, running, prompts):
        running.start_engine()
        running.start_agent()
        running.set_steps(config.draft.num_steps)
        target = running.target
        other = first_draft(config.draft, target, seed=1)
        version = running.store.publish(
            lambda folder: checkpoint.write(folder, other), target_fingerprint=target.fingerprint
        ).version
        traffic = Stream.start(running.url, prompts, config.traffic.concurrency, config.traffic.max_new_tokens)
        listener = Listener.start(running.url, prompts[0])
        time.sleep(8)
        quiet = list(listener.gaps)
        stalls = []
        for i in range(options.swaps):
            stalls.append(1e3 * running.load(version if i % 2 == 0 else 0))
            if i % 20 == 0:
                print(f"swap {i}: {stalls[-1]:.1f} ms", flush=True)
        gaps = listener.stop()
        record = traffic.stop()
        stalls.sort()
        report(
            "swaps",
            swaps=len(stalls),
            stall_ms_median=round(statistics.median(stalls), 1),
            stall_ms_p99=round(stalls[int(0.99 * (len(stalls) - 1))], 1),
            stall_ms_max=round(stalls[-1], 1),
            client_gap_ms_max_before=round(1e3 * max(quiet), 1),
            client_gap_ms_max_during=round(1e3 * max(gaps[len(quiet) :]), 1),
            requests=len(record.answers),
            failed=len(record.failures),
        )


if __name__ == "__main__":
    main()
