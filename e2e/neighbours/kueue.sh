#!/usr/bin/env bash
# Kueue itself with the operator: builds its manager of its Go module, once for each version, and runs its tests against
# an API server that is started for them. The first time takes about 10 minutes of a core and 2 GB below the cache.
# Usage: kueue.sh [pytest's options]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tools/cache.sh
source "$root/tools/cache.sh"
bin=$("$root/tools/bootstrap.sh" | tail -1)
export GOPATH=$cache/go GOCACHE=$cache/go/build AURORA_CACHE=$cache PATH=$bin:$PATH
export PYTHONPATH=$root/tools:$root/e2e:$root/e2e/cluster:$root/e2e/apiserver:$here
# Here, because the API server's network leads nowhere else.
read -r module package < <("$bin/python" -c 'from kueue_support import KUEUE; print(*KUEUE)')
go mod download "$module"
"$root/e2e/servers/build.sh" "$module" "$package"
node=("$root/e2e/cluster/node.py" --name kueue)
trap '"${node[@]}" stop' EXIT
"${node[@]}" start --api-only
"${node[@]}" enter pytest -s "$here"/test_kueue*.py "$@"
