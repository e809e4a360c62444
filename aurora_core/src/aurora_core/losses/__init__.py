"""The forward KL of draft and target: ``reference`` says what it is, ``fused`` computes it without waste."""
