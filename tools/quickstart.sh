#!/usr/bin/env bash
# The README's main command: the product on a cluster, from kubectl apply to a promoted draft.
# CLUSTER=local (default): a real node on this machine, started for it and stopped at the end unless KEEP=1.
# CLUSTER=kind: a kind cluster, made where it does not exist and left running (`CLUSTER=kind make cluster-stop` ends it).
# CLUSTER=current: the current kube context, with the operator and a Prometheus installed.
# Arguments go to e2e/quickstart.py.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(tools/bootstrap.sh)
export AURORA_CACHE=${AURORA_CACHE:-$HOME/.cache/aurora} PATH="$bin:$PATH"
# AURORA_CPU=avx2: everything computes as on a CPU without AVX-512 and bf16 units.
read -ra emulation <<< "$(python e2e/machine.py)"
[ ${#emulation[@]} = 0 ] || export "${emulation[@]}"
case ${CLUSTER:-local} in
  local)
    [ "${KEEP:-}" = 1 ] || trap 'tools/cluster.sh stop' EXIT
    tools/cluster.sh start
    tools/cluster.sh install
    e2e/cluster/node.py enter "$bin/python" e2e/quickstart.py "$@"
    ;;
  kind)
    tools/cluster.sh start
    tools/cluster.sh install
    # Its storage class makes volumes for one node, and it has one.
    KUBECONFIG=$AURORA_CACHE/kind-${KIND_CLUSTER:-aurora}.conf \
      python e2e/quickstart.py --forward --access-mode ReadWriteOnce "$@"
    ;;
  current) exec python e2e/quickstart.py --forward "$@" ;;
  *)
    echo "CLUSTER=$CLUSTER is not known: local, kind or current" >&2
    exit 2
    ;;
esac
