"""Observe the world, plan (purely), execute."""
