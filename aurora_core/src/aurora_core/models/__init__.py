"""Draft architectures and what is read of targets."""
