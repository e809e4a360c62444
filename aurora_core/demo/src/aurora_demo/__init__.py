"""The learning loop on one machine as a demonstration: a small model, its own traffic, plots and a live view."""
