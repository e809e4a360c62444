"""What can be set in a running engine: the fields that the plugin adds to SGLang's ``set_internal_state``."""

from enum import StrEnum


class Control(StrEnum):
    """A key; its value is a number."""

    PREPARE = "aurora_prepare"
    """Read and verify this draft version in the background."""
    ACTIVATE = "aurora_activate"
    """Make this prepared draft version live."""
    STEPS = "aurora_steps"
    """Draft steps of a cycle; 0 switches speculation off."""
    SAMPLE_RATE = "aurora_sample_rate"
    """Share of requests that are captured, from 0 to 1."""
