#!/usr/bin/env bash
# A Canary by request through Traefik itself: builds it of its Go module, once for each version, and runs its test
# against an API server that is started for it. The clients of DNS services that Traefik has for ACME are left out: they
# are most of what there is to compile, and none is asked here. Everything else is as its module has it.
# The first time takes about 3 GB below the cache; how long on a machine that does nothing else was not measured. Usage: traefik.sh [pytest's options]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tools/cache.sh
source "$root/tools/cache.sh"
bin=$("$root/tools/bootstrap.sh" | tail -1)
export PYTHONPATH=$root/tools:$root/e2e:$root/e2e/cluster:$root/e2e/apiserver:$here
version=$(PATH=$bin:$PATH python -c 'from traefik_support import TRAEFIK; print(TRAEFIK)')
out=$cache/cluster/traefik-$(cat "$0" "$here/traefik/dns.go" <(echo "$version") | sha256sum | cut -c1-16)
export GOPATH=${GOPATH:-$cache/go} GOCACHE=${GOCACHE:-$cache/go/build} CGO_ENABLED=0
if [ ! -x "$out/traefik" ]; then
  source=$(go mod download -json "github.com/traefik/traefik/v3@$version" | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p')
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cp -r "$source/." "$work"
  chmod -R u+w "$work"
  cp -r "$here/traefik" "$work/pkg/dns"
  sed -i 's|"github.com/go-acme/lego/v4/providers/dns"|"github.com/traefik/traefik/v3/pkg/dns"|' "$work/pkg/provider/acme/provider.go"
  mkdir -p "$out"
  cp "$source/docs/content/reference/dynamic-configuration/kubernetes-gateway-rbac.yml" "$out/rights.yaml"
  set_version="-X github.com/traefik/traefik/v3/pkg/version.Version=$version"
  (cd "$work" && go build -trimpath -ldflags "-s -w $set_version" -o "$out/traefik" ./cmd/traefik)
fi
# Here, because the API server's network leads nowhere else.
"$root/e2e/cluster/routes/build.sh"
export NEIGHBOURS=$out AURORA_CACHE=$cache PATH=$bin:$PATH
node=("$root/e2e/cluster/node.py" --name traefik)
trap '"${node[@]}" stop; rm -rf "${work:-}"' EXIT
"${node[@]}" start --api-only
"${node[@]}" enter pytest -s -x "$here/test_traefik.py" "$@"
