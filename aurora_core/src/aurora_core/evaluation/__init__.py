"""How good a draft is: simulated on held-out samples, and measured in the real engine."""
