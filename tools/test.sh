#!/usr/bin/env bash
# The README's test command: every check, in order, the quick ones first; stops at the first that fails.
# Usage: tools/test.sh [lint]
exec "$(dirname "$0")/workshop.sh" test "$@"
