"""Names of what the plugin adds to SGLang's internal state: one key to read, some numbers to set."""

STATE_KEY = "aurora"

PREPARE = "aurora_prepare"
"""Read and verify a version in the background."""
COMMIT = "aurora_draft"
"""Make the prepared version live."""
STEPS = "aurora_steps"
"""Draft steps of a cycle."""
RATE = "aurora_sample_rate"
"""Share of requests that are captured."""
FORGET = "aurora_forget_before"
"""Drop the counters of versions before this one."""
