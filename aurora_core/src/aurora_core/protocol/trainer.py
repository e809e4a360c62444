"""The trainer's status: a file that it replaces as it goes, and its agent hands on."""

from pathlib import Path
from typing import Self

from pydantic import Field

from aurora_core import regular
from aurora_core.protocol.message import Counts, Message, Number, Text

STATUS_FILE = "status.json"
"""In the folder of the training state."""
MOST_BYTES = 1 << 20
"""Of that file."""

LAST_MESSAGE = "AURORA_LAST_MESSAGE"
"""Environment variable with a file that gets the message by which a command ends, if any."""

LOST_RANK = "lost another one of"
"""In the message of a rank that ends because another one did."""


class TrainerStatus(Message):
    """How training goes."""

    step: Number = 0
    """Optimizer steps taken."""
    tokens: Number = 0
    """Tokens trained on."""
    loss: float | None = None
    """Of the last step; None before the first since the start."""
    accept_length: float | None = None
    """Simulated on held-out requests; None before they were."""
    samples: Number = 0
    """In the pool, to train on."""
    received: Number = 0
    """Samples taken in since the start."""
    rejected: Counts = Field(default_factory=dict)
    """Samples refused since the start, by reason."""
    lost: Counts = Field(default_factory=dict)
    """Samples that engines had and could not hand over, since the start, by reason."""
    waiting: bool = False
    """Whether there is nothing to learn from until more samples come."""
    published: Number | None = None
    """The newest version of this training."""
    withheld: Number = 0
    """Evaluations since then whose gain was within noise."""
    damaged: Number = 0
    """Training states and versions that were passed over at the start: damaged, or not signed as they must be."""
    precision: Text | None = None
    """Type of the weights that are trained."""
    ranks: Number = 1
    """Processes that train the draft together."""

    @classmethod
    def of(cls, file: Path) -> Self:
        """What a status file on this machine says; the defaults where there is none yet, or it cannot be read."""
        try:
            return cls.model_validate_json(regular.read(file, MOST_BYTES))
        except (OSError, ValueError):
            return cls()
