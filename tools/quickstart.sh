#!/usr/bin/env bash
# The README's main command: the product on a cluster, from kubectl apply to a promoted draft.
# CLUSTER=local (default): a real node on this machine, started for it and stopped at the end unless KEEP=1.
# CLUSTER=current: the current kube context, with the operator and a Prometheus installed and Services reachable.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(tools/bootstrap.sh)
export AURORA_CACHE=${AURORA_CACHE:-$HOME/.cache/aurora} PATH="$bin:$PATH"
if [ "${CLUSTER:-local}" = current ]; then
  exec python e2e/quickstart.py "$@"
fi
[ "${KEEP:-}" = 1 ] || trap 'e2e/cluster/node.py stop' EXIT
e2e/cluster/node.py start
e2e/cluster/install.py
e2e/cluster/node.py enter "$bin/python" e2e/quickstart.py "$@"
