"""``aurora``, also as ``kubectl aurora``: see, understand and decide."""
