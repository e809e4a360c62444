"""A running engine of a test."""

from dataclasses import dataclass
from pathlib import Path

import httpx
import torch
from aurora_core.agent.engine import Engine
from aurora_core.arithmetic import STATE_DTYPES
from aurora_core.child import Process
from aurora_core.config import DraftConfig
from aurora_core.models.target import Target
from aurora_core.samples.schema import decode
from aurora_core.training.init import first_draft
from aurora_core.weights import checkpoint
from aurora_core.weights.store import WeightsStore
from machine import patience

ROOT = Path(__file__).parents[2]
TOOLS = Path(__file__).with_name("tools.jinja")
"""A chat template that shows tools and their calls in Hermes' format: that of SmolLM2-135M leaves them out."""
ADMIN_KEY, API_KEY = "e2e-admin-0123456789", "e2e-user-0123456789"


@dataclass
class Running:
    """An engine, its files and its endpoint."""

    process: Process
    url: str
    store: WeightsStore
    spool: Path
    target: Target
    control: Engine

    def ask(self, text, rid, tokens=48, **sampling):
        body = {"rid": rid, "sampling_params": {"temperature": 0, "max_new_tokens": tokens, **sampling}}
        body |= {"text": text} if isinstance(text, str) else {"input_ids": text}
        answer = httpx.post(f"{self.url}/generate", json=body, timeout=patience(300))
        answer.raise_for_status()
        return answer.json()

    def samples(self):
        """The captured requests, by request id."""
        found = {}
        for path in sorted(self.spool.glob("*.sample")):
            sample = decode(
                path.read_bytes(),
                target=self.target.fingerprint,
                vocab_size=self.target.vocab_size,
                aux_width=1728,
                hidden=576,
                dtypes=STATE_DTYPES,
            )
            found[sample.request] = sample
        return found


def publish(engine, seed=1, fingerprint=None, **shape):
    draft = first_draft(DraftConfig(**{"draft_vocab_size": 8192, **shape}), engine.target, seed)
    ids = torch.arange(seed * 100, seed * 100 + draft.config.draft_vocab_size)
    draft.set_vocabulary(ids)
    with torch.no_grad():
        draft.lm_head.weight.copy_(engine.target.head_rows(ids))
    store = engine.store
    return store.publish(
        lambda folder: checkpoint.write(folder, draft), target_fingerprint=fingerprint or engine.target.fingerprint
    ).version
