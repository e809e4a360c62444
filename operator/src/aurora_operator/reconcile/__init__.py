"""Observe the snapshot, plan (purely), execute."""
