"""The learning loop of speculative decoding: serve, capture, train a draft, publish it, swap it in live."""
