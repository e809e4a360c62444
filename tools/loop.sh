#!/usr/bin/env bash
# The learning loop without Kubernetes, as processes on this machine. Arguments go to `aurora-core loop`.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(tools/bootstrap.sh)
export AURORA_CACHE=${AURORA_CACHE:-$HOME/.cache/aurora}
exec "$bin/aurora-core" loop --config examples/smollm2.yaml --work work "$@"
