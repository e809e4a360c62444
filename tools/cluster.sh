#!/usr/bin/env bash
# The cluster that CLUSTER names: start it, install the product on it, or stop it.
#   local (default)   a real node on this machine
#   kind              a kind cluster, see tools/kind.sh
#   current           the current kube context; install takes the registry that it pulls from, REGISTRY, pushes the images
#                     there with docker, and installs the chart; Prometheus is yours. BUILD_OPTIONS go to `docker build`.
# Usage: tools/cluster.sh start|install|stop
set -euo pipefail
cd "$(dirname "$0")/.."
at=${CLUSTER:-local}:${1:-}
tools/bootstrap.sh >/dev/null
case $at in
  local:start | local:stop) exec e2e/cluster/node.py "$1" ;;
  local:install) exec e2e/cluster/install.py ;;
  kind:start | kind:install | kind:stop) exec tools/kind.sh "$1" ;;
  current:start) kubectl cluster-info ;;
  current:install)
    registry=${REGISTRY:?names the registry that the cluster pulls from, such as registry.example.com/team}
    read -ra options <<< "${BUILD_OPTIONS:-}"
    tag=$(images/docker.sh "$registry" --push "${options[@]}")
    tools/workshop.sh chart "$registry" "$tag"
    ;;
  current:stop) helm uninstall aurora --namespace aurora-system ;;
  *)
    echo "CLUSTER=$at is not known: CLUSTER is local, kind or current, and the command start, install or stop" >&2
    exit 2
    ;;
esac
