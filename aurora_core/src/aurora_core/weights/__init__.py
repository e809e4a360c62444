"""Draft weights at rest: SGLang's checkpoint format, and a store of verified, immutable versions."""
