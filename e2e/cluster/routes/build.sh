#!/usr/bin/env bash
# Fetches the CRDs of the Gateway API and of Istio once for each set of versions; prints their folder.
# Those of the Gateway API's standard channel are in gateway/, too. Nothing is compiled.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/cache.sh
source "$here/../../../tools/cache.sh"
out=$cache/cluster/routes-$(cat "$here"/{go.mod,go.sum,build.sh} | sha256sum | cut -c1-16)
exec 3>&1 1>&2
if [ ! -f "$out/.complete" ]; then
  rm -rf "$out"
  mkdir -p "$out"
  cd "$here"
  go mod download sigs.k8s.io/gateway-api istio.io/api
  folder() { # module
    go list -m -f '{{.Dir}}' "$1"
  }
  cp -r --no-preserve=mode "$(folder sigs.k8s.io/gateway-api)/config/crd/standard" "$out/gateway"
  cp "$out/gateway/gateway.networking.k8s.io_httproutes.yaml" "$out/httproutes.yaml"
  # One file has all of Istio's.
  awk 'BEGIN { RS = "---\n" } /\n  name: virtualservices.networking.istio.io\n/' \
    "$(folder istio.io/api)/kubernetes/customresourcedefinitions.gen.yaml" > "$out/virtualservices.yaml"
  test -s "$out/virtualservices.yaml"
  chmod -R u+w "$out"
  touch "$out/.complete"
fi
echo "$out" >&3
