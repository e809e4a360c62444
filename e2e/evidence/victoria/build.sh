#!/usr/bin/env bash
# Builds victoria-metrics once for each set of versions; prints its folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/cache.sh
source "$here/../../../tools/cache.sh"
out=$cache/cluster/victoria-$(cat "$here"/* | sha256sum | cut -c1-16)
exec 3>&1 1>&2
if [ ! -f "$out/.complete" ]; then
  mkdir -p "$out"
  cd "$here"
  echo "building VictoriaMetrics (once, about a minute on 2 cores)"
  package=github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics
  CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$out/" "$package"
  touch "$out/.complete"
fi
echo "$out" >&3
