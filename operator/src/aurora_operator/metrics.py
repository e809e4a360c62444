"""What the operator tells of itself."""

from prometheus_client import Counter, Gauge, Histogram

writes = Counter("aurora_operator_writes", "Writes to the API server", ["kind"])
loads = Counter("aurora_operator_loads", "Versions made live through an agent", ["speculator"])
failures = Counter("aurora_operator_failures", "What failed and is tried again", ["speculator", "what"])
verdicts = Counter("aurora_operator_verdicts", "Events of promotion", ["speculator", "reason"])
reconcile_seconds = Histogram("aurora_operator_reconcile_seconds", "Duration of a look and what follows")
estimate = Gauge("aurora_gate_estimate", "Candidate over stable", ["speculator", "bound"])
stable_version = Gauge("aurora_stable_version", "Version that is stable", ["speculator"])
candidate_version = Gauge("aurora_candidate_version", "Version that is on trial, -1 without one", ["speculator"])
condition = Gauge("aurora_condition", "1 where the condition is True, 0 False, -1 Unknown", ["speculator", "type"])
