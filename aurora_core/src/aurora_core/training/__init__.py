"""Training a draft on what serving captured."""
