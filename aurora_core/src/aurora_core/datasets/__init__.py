"""Conversations from files: read, answered by the target, and made into samples without an engine."""
