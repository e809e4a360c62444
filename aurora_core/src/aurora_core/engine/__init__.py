"""What runs inside SGLang: capture, draft-only hot swap, step control and counters, all through its plugin hooks."""
