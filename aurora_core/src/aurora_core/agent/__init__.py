"""The sync agent beside each engine: lists versions, makes one live, tells what is live. Its caller decides."""
