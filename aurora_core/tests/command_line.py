"""Calls the command line in this process."""

import contextlib
import io
import sys

from aurora_core.cli import main


def run(*arguments):
    """The command's exit status, and what it printed."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    before, sys.argv = sys.argv, ["aurora-core", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        status = end.code
    finally:
        sys.argv = before
    return status, out.getvalue(), err.getvalue()
