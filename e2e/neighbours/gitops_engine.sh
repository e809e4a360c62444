#!/usr/bin/env bash
# What Argo CD does in each cycle of an Application (cycles/main.go), with the operator: builds it of Argo CD's own
# modules, once for each version, and runs its test against an API server that is started for it. The first time takes
# about 20 minutes of a core and 5 GB below the cache. Usage: gitops_engine.sh [pytest's options]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tools/cache.sh
source "$root/tools/cache.sh"
bin=$("$root/tools/bootstrap.sh" | tail -1)
out=$cache/cluster/gitops-$(cat "$0" "$here/cycles/main.go" | sha256sum | cut -c1-16)
export GOPATH=$cache/go GOCACHE=$cache/go/build CGO_ENABLED=0 GOFLAGS=-mod=mod
if [ ! -x "$out/cycles" ]; then
  source=$(go mod download -json github.com/argoproj/argo-cd/v3@v3.2.12 | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p')
  work=$(mktemp -d)
  cp -r "$source/." "$work"
  chmod -R u+w "$work"
  cp -r "$here/cycles" "$work/cmd/cycles"
  (cd "$work" && go build -trimpath -ldflags '-s -w' -o "$out/cycles" ./cmd/cycles)
  rm -rf "$work"
fi
export NEIGHBOURS=$out AURORA_CACHE=$cache PATH=$bin:$PATH
export PYTHONPATH=$root/tools:$root/e2e:$root/e2e/cluster:$root/e2e/apiserver:$here
node=("$root/e2e/cluster/node.py" --name gitops)
trap '"${node[@]}" stop' EXIT
"${node[@]}" start --api-only
"${node[@]}" enter pytest -s -x "$here/test_gitops_engine.py" "$@"
