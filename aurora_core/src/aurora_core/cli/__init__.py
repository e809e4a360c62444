"""The command line ``aurora-core``: the loop's processes, the versions of a store, and drafts of others."""

import logging
import sys
import traceback

from aurora_core.cli.parser import parser
from aurora_core.cli.terminal import leave, printable_lines
from aurora_core.errors import AuroraError


def main() -> None:
    """Entry point."""
    arguments = parser("Speculative decoding that learns from what it serves.").parse_args()
    logging.basicConfig(level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        arguments.run(arguments)
    except AuroraError as error:
        message = f"aurora-core: {printable_lines(str(error))}"
        print(message, file=sys.stderr)
        leave(message)
        sys.exit(1)
    except Exception:
        leave(traceback.format_exc(limit=-3).rstrip())
        raise
