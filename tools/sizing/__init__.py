"""What a target needs, from its shape: bytes of samples, memory, disk; and the examples that are made of that."""
