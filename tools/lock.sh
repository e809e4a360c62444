#!/usr/bin/env bash
# Resolves the workspace again and writes requirements.lock: names, versions and hashes, and no registry.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${AURORA_CACHE:-$HOME/.cache/aurora}
export UV_CACHE_DIR=$cache/uv
uv=$cache/tools-uv-0.13.9/bin/uv
"$uv" lock --python /usr/bin/python3.11 "$@"
"$uv" export -q --frozen --all-packages --all-extras --no-emit-workspace --no-header --no-annotate \
  --format requirements-txt -o requirements.lock >/dev/null
wc -l requirements.lock
# The images take less: the operator no torch, the engine no tools of development.
for image in operator:aurora-operator runtime:aurora-core; do
  what=(--frozen --package "${image#*:}" --no-dev)
  [ "${image%%:*}" = runtime ] && what+=(--all-extras)
  "$uv" export -q "${what[@]}" --no-emit-workspace --no-header --no-annotate --format requirements-txt \
    -o "images/${image%%:*}.lock" >/dev/null
  "$uv" export -q "${what[@]}" --format cyclonedx1.5 --preview-features sbom-export |
    python3 tools/sbom.py > "images/${image%%:*}.cdx.json"
done
# A contributor's environments, on any platform: the operator's without torch, and the core's without SGLang. With the
# versions of requirements.lock, so that a test means the same in each.
pinned=$(mktemp)
trap 'rm -f "$pinned"' EXIT
sed -n 's/^\([a-zA-Z0-9_.-]*==[^ ;]*\).*/\1/p' requirements.lock > "$pinned"
small() { # lock, pyprojects with extras...
  local lock=$1; shift
  "$uv" pip compile -q --no-config --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-package aurora-core --no-emit-package aurora-operator -c "$pinned" --group pyproject.toml:unit "$@" -o "$lock"
}
small operator/dev.lock operator/pyproject.toml --extra cli
small aurora_core/dev.lock operator/pyproject.toml aurora_core/pyproject.toml --extra cli --extra training
