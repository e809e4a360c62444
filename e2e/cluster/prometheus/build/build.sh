#!/usr/bin/env bash
# Builds prometheus and promtool once for each set of versions; prints their folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/cache.sh
source "$here/../../../../tools/cache.sh"
out=$cache/cluster/prometheus-$(cat "$here"/* | sha256sum | cut -c1-16)
exec 3>&1 1>&2
if [ ! -f "$out/.complete" ]; then
  mkdir -p "$out"
  cd "$here"
  echo "building Prometheus (once, about 4 minutes on 2 cores)"
  go mod download github.com/prometheus/prometheus
  source=$(go list -m -f '{{.Dir}}' github.com/prometheus/prometheus)
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cp -r --no-preserve=mode "$source" "$work/prometheus"
  cp "$here/plugins.go" "$work/prometheus/plugins/plugins.go"
  cp go.mod go.sum tools.go "$work/"
  cd "$work"
  go mod edit -replace github.com/prometheus/prometheus=./prometheus
  CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$out/" github.com/prometheus/prometheus/cmd/{prometheus,promtool}
  touch "$out/.complete"
fi
echo "$out" >&3
