#!/usr/bin/env bash
# benchmarks/fleet.py on a real API server, which is started for it and stopped at the end. Arguments go to it.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(tools/bootstrap.sh)
export AURORA_CACHE=${AURORA_CACHE:-$HOME/.cache/aurora} PATH="$bin:$PATH" PYTHONPATH=e2e:e2e/cluster
trap 'e2e/cluster/node.py stop' EXIT
e2e/cluster/node.py start --api-only
e2e/cluster/node.py enter "$bin/python" benchmarks/fleet.py "$@"
