"""Mode Online: SGLang's engines and the trainer as actors of one Ray cluster."""

import os

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's own variable: with 0, a cluster that this process starts listens on 127.0.0.1 alone, whatever the system."""


def on_loopback() -> None:
    """Keep a cluster that is started here off the network; to be called before Ray is imported, which reads it then."""
    os.environ[LOOPBACK] = "0"
