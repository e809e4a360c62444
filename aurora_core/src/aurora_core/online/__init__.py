"""Mode Online: SGLang's engines and the trainer as actors of one Ray cluster."""
