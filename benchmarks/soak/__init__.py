"""Soak runs: what is killed, lost, drained or upgraded for minutes to hours, while everything else must continue."""
