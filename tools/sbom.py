"""Reads uv's CycloneDX from stdin and writes it without what differs from run to run: it depends on the lock alone."""

import json
import sys


def main() -> None:
    """Strip and print."""
    bom = json.load(sys.stdin)
    bom.pop("serialNumber", None)
    bom["metadata"].pop("timestamp", None)
    for component in bom["components"]:
        # Where it was fetched from is the builder's matter; name, version and purl say what it is.
        component.pop("externalReferences", None)
    json.dump(bom, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
