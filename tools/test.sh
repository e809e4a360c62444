#!/usr/bin/env bash
# The README's test command: every check, in order, the quick ones first; stops at the first that fails.
# Usage: tools/test.sh [lint]
set -euo pipefail
cd "$(dirname "$0")/.."
began=$SECONDS
stage() { # name, command...
  local name=$1 start=$SECONDS; shift
  printf '\n== %s\n' "$name"
  "$@"
  printf '== %s: %d s\n' "$name" $((SECONDS - start))
}
start=$SECONDS
bin=$(tools/bootstrap.sh)
printf '== set-up: %d s\n' $((SECONDS - start))
export AURORA_CACHE=${AURORA_CACHE:-$HOME/.cache/aurora} PATH="$bin:$PATH"

stage lint ruff check .
stage format ruff format --check .
stage types mypy
stage 'import contracts' lint-imports
[ "${1:-}" = lint ] && exit 0
stage 'unit and property tests' pytest -q aurora_core/tests aurora_core/sgl_kernel_cpu/tests
stage 'real engine' pytest -q e2e
printf '\n== all: %d s\n' $((SECONDS - began))
