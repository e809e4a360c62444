"""The commands about the versions of a store."""

import argparse

from aurora_core.errors import WeightsError
from aurora_core.weights.signing import Signing


def verify(arguments: argparse.Namespace) -> None:
    """Check every byte of every version."""
    from aurora_core.weights.store import WeightsStore  # noqa: PLC0415

    store = WeightsStore(arguments.weights, signing=Signing.from_environment())
    if not (found := store.versions()):
        raise WeightsError(
            f"{arguments.weights} has no version, so nothing was verified: name the folder of the weights"
        )
    for version in found:
        manifest = store.verify(version)
        print(f"{version:06d} verified, step {manifest.step}, held-out accept length {manifest.holdout_accept_length}")


def versions(arguments: argparse.Namespace) -> None:
    """List the versions, a JSON object in each line."""
    from aurora_core.weights.store import WeightsStore  # noqa: PLC0415

    weights = arguments.work / "weights"
    if not weights.is_dir():
        raise WeightsError(f"{weights} is not a directory: name the folder that has the weights in it by --work")
    store = WeightsStore(weights, signing=Signing.from_environment())
    for version in store.versions():
        manifest = store.manifest(version)
        print(manifest.info().model_dump_json())
