#!/usr/bin/env bash
# The README's main command: the product on a cluster, from kubectl apply to a promoted draft.
# CLUSTER=local (default): a real node on this machine, started for it and stopped at the end unless KEEP=1.
# CLUSTER=kind: a kind cluster, made where it does not exist and left running (`CLUSTER=kind make cluster-stop` ends it).
# CLUSTER=current: the current kube context, with the operator and a Prometheus installed.
# DASHBOARDS=FOLDER: draw the Grafana dashboards of the run there, at its end.
# Arguments go to e2e/quickstart.py.
exec "$(dirname "$0")/workshop.sh" quickstart "$@"
