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
# AURORA_CPU=avx2: everything computes as on a CPU without AVX-512 and bf16 units.
read -ra emulation <<< "$(python e2e/machine.py)"
[ ${#emulation[@]} = 0 ] || export "${emulation[@]}"

stage lint ruff check .
stage format ruff format --check .
stage types mypy
stage 'import contracts' lint-imports
stage 'generated files' python tools/generate.py --check
[ "${1:-}" = lint ] && exit 0
stage 'unit and property tests of the loop' pytest -q aurora_core/tests aurora_core/sgl_kernel_cpu/tests
stage 'unit and property tests of the operator' pytest -q operator/tests

trap 'e2e/cluster/node.py stop' EXIT
stage 'a real API server' e2e/cluster/node.py start --api-only
stage 'API-server tests' e2e/cluster/node.py enter "$bin/pytest" -q e2e/apiserver
stage 'API server stopped' e2e/cluster/node.py stop
stage 'evidence from a real Prometheus' pytest -q e2e/evidence
stage 'real engine' pytest -q e2e/engine
stage 'a real node' e2e/cluster/node.py start
stage 'the product on it' e2e/cluster/install.py
stage 'whole-node tests' e2e/cluster/node.py enter "$bin/pytest" -q e2e/onnode
printf '\n== all: %d s\n' $((SECONDS - began))
