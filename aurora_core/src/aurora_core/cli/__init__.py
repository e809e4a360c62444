"""The command line ``aurora-core``: the loop's processes, the versions of a store, and drafts of others."""

import logging
import sys

from aurora_core.cli.parser import parser
from aurora_core.cli.terminal import printable_lines
from aurora_core.errors import AuroraError


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    arguments = parser("Speculative decoding that learns from what it serves.").parse_args()
    try:
        arguments.run(arguments)
    except AuroraError as error:
        print(f"aurora-core: {printable_lines(str(error))}", file=sys.stderr)
        sys.exit(1)
