#!/usr/bin/env bash
# Puts the product on a kind cluster (https://kind.sigs.k8s.io), which is made where it does not exist: images are built
# here and loaded, Prometheus and the chart installed. KIND_CLUSTER names it. Prints the path of its kubeconfig.
# Needs kind, kubectl, helm and buildah on the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 3>&1 1>&2
cache=${AURORA_CACHE:-$HOME/.cache/aurora}
name=${KIND_CLUSTER:-aurora}
registry=aurora.local
for tool in kind kubectl helm buildah; do
  command -v "$tool" >/dev/null || { echo "CLUSTER=kind needs $tool on the PATH"; exit 1; }
done
kind get clusters 2>/dev/null | grep -qx "$name" || kind create cluster --name "$name" --wait 180s
export KUBECONFIG=$cache/kind-$name.conf
kind get kubeconfig --name "$name" > "$KUBECONFIG"

tag=$(images/build.sh "$registry")
archive=$(mktemp -d)
trap 'rm -rf "$archive"' EXIT
for image in operator engine trainer; do
  reference=$registry/aurora-$image:$tag
  buildah --root "$cache/buildah" --runroot "$cache/buildah-run" --storage-driver overlay \
    push -q "$reference" "docker-archive:$archive/image.tar:$reference"
  kind load image-archive "$archive/image.tar" --name "$name"
  rm "$archive/image.tar"
done
sed "s|PROMETHEUS_IMAGE|${PROMETHEUS_IMAGE:-docker.io/prom/prometheus:v3.5.0}|" e2e/cluster/prometheus/prometheus.yaml |
  kubectl apply -f -
helm upgrade --install aurora charts/aurora-operator --namespace aurora-system --create-namespace \
  --set images.registry="$registry" --set-string images.tag="$tag" --wait --timeout 300s
kubectl rollout status -n monitoring deployment/prometheus --timeout=300s
echo "$KUBECONFIG" >&3
