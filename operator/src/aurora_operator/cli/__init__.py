"""``kubectl aurora``: see, understand and decide."""
