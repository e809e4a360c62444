#!/usr/bin/env bash
# The operator by its chart, on the cluster that KUBECONFIG names. Usage: tools/chart.sh REGISTRY TAG
set -euo pipefail
cd "$(dirname "$0")/.."
helm upgrade --install aurora charts/aurora-operator --namespace aurora-system --create-namespace \
  --set images.registry="$1" --set-string images.tag="$2" --wait --timeout 300s
