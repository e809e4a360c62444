"""The sync agent beside each engine: lists versions, activates one, reports what is live. Its caller decides."""
