#!/usr/bin/env bash
# A kind cluster (https://kind.sigs.k8s.io), and the product on it; KIND_CLUSTER names it.
#   start     makes it where it does not exist
#   install   builds the images here, loads them, and installs Prometheus and the chart
#   stop      deletes it
# Needs kind, kubectl, helm and docker (or podman, with KIND_EXPERIMENTAL_PROVIDER=podman) on the PATH. BUILD_OPTIONS go
# to `docker build`, PROMETHEUS_IMAGE names Prometheus. Its kubeconfig
# is AURORA_CACHE/kind-NAME.conf.
set -euo pipefail
cd "$(dirname "$0")/.."
name=${KIND_CLUSTER:-aurora}
# shellcheck source=tools/cache.sh
source tools/cache.sh
builder=${KIND_EXPERIMENTAL_PROVIDER:-docker}
registry=aurora.local
for tool in kind kubectl helm "$builder"; do
  command -v "$tool" >/dev/null || { echo "CLUSTER=kind needs $tool on the PATH"; exit 1; }
done
mkdir -p "$cache"
export KUBECONFIG=$cache/kind-$name.conf

case ${1:-} in
  start)
    kind get clusters 2>/dev/null | grep -qx "$name" || kind create cluster --name "$name" --wait 180s
    kind get kubeconfig --name "$name" > "$KUBECONFIG"
    ;;
  install)
    read -ra options <<< "${BUILD_OPTIONS:-}"
    tag=$(BUILDER=$builder images/docker.sh "$registry" "${options[@]}")
    archive=$(mktemp -d)
    trap 'rm -rf "$archive"' EXIT
    # In one archive, because engine and trainer have their layers in common.
    several=(); [ "$builder" = podman ] && several=(--multi-image-archive)
    "$builder" save "${several[@]}" -o "$archive/images.tar" "$registry"/aurora-{operator,engine,trainer}:"$tag"
    kind load image-archive "$archive/images.tar" --name "$name"
    rm "$archive/images.tar"
    sed "s|PROMETHEUS_IMAGE|${PROMETHEUS_IMAGE:-docker.io/prom/prometheus:v3.5.0}|" e2e/cluster/prometheus/prometheus.yaml |
      kubectl apply -f -
    tools/workshop.sh chart "$registry" "$tag"
    kubectl rollout status -n monitoring deployment/prometheus --timeout=300s
    ;;
  stop)
    kind delete cluster --name "$name"
    rm -f "$KUBECONFIG"
    ;;
  *)
    sed -n '2,9s/^# //p' "$0"
    exit 2
    ;;
esac
