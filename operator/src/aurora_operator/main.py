"""Entry point of the operator."""

import logging
import sys

import kopf

from aurora_operator import handlers
from aurora_operator.errors import OperatorError
from aurora_operator.settings import Settings


def main() -> None:
    """Run until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = Settings.from_environment()
    except OperatorError as error:
        sys.exit(f"aurora-operator: {error}")
    registry = kopf.get_default_registry()
    logging.getLogger(__name__).info("watching %s", settings.watch_namespace or "all namespaces")
    kopf.run(
        registry=registry,
        standalone=True,
        clusterwide=not settings.watch_namespace,
        namespaces=[settings.watch_namespace] if settings.watch_namespace else (),
        liveness_endpoint="http://0.0.0.0:8080/healthz",
        memo=kopf.Memo(),
    )


assert handlers  # noqa: S101 (imported for its registrations)
