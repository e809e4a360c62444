#!/usr/bin/env bash
# Builds a Kubernetes node's components from pinned Go modules, once per set of versions; prints their folder.
# kubectl, kube-apiserver & co. come from go.mod and go.sum beside this file; the others are single commands.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/cache.sh
source "$here/../../../tools/cache.sh"
stamp=$(cat "$here"/go.mod "$here"/go.sum "$here"/tools.go "$here"/build.sh | sha256sum | cut -c1-16)
out=$cache/cluster/bin-$stamp
exec 3>&1 1>&2
if [ ! -f "$out/.complete" ]; then
  mkdir -p "$out"
  kubernetes=$(cd "$here" && go list -m -f "{{.Version}}" k8s.io/kubernetes)
  minor=${kubernetes#v1.}
  flags="-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes -X k8s.io/component-base/version.gitMajor=1"
  flags="$flags -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
  echo "building Kubernetes $kubernetes (once, about 6 minutes on 2 cores)"
  (cd "$here" && go build -trimpath -ldflags "$flags" -o "$out/" \
    k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kube-proxy,kubectl})
  single() { # package@version
    echo "building $1"
    GOBIN=$out CGO_ENABLED=0 go install -trimpath -ldflags '-s -w' "$1"
  }
  single github.com/coredns/coredns@v1.12.4
  single helm.sh/helm/v3/cmd/helm@v3.19.0
  single github.com/distribution/distribution/v3/cmd/registry@v3.0.0
  # The sandbox container of each pod: waits for a signal and does nothing else.
  cc -Os -static -o "$out/pause" "$here/pause.c"
  touch "$out/.complete"
fi
echo "$out" >&3
