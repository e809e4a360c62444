#!/usr/bin/env bash
# Builds KubeRay's operator once for each set of versions, and copies its CRDs beside it; prints their folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/cache.sh
source "$here/../../../tools/cache.sh"
out=$cache/cluster/kuberay-$(cat "$here"/{go.mod,go.sum,tools.go,build.sh} | sha256sum | cut -c1-16)
exec 3>&1 1>&2
if [ ! -f "$out/.complete" ]; then
  mkdir -p "$out/crd"
  cd "$here"
  module=github.com/ray-project/kuberay/ray-operator
  echo "building KubeRay (once, about two minutes on 2 cores)"
  CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$out/kuberay" "$module"
  cp "$(go list -m -f '{{.Dir}}' "$module")"/config/crd/bases/*.yaml "$out/crd/"
  chmod -R u+w "$out/crd"
  touch "$out/.complete"
fi
echo "$out" >&3
