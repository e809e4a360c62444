#!/usr/bin/env bash
# Makes a fresh Debian machine ready: system packages, uv, and the locked virtual environment. Prints the path of the
# environment's folder of commands on its last line; all else goes to stderr.
exec "$(dirname "$0")/workshop.sh" environment
