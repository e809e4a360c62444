#!/usr/bin/env bash
# Resolves the workspace and writes requirements.lock and what follows from it: names, versions and hashes, and no registry.
# Packages stay at the versions that requirements.lock has; --upgrade takes the newest of all.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/cache.sh
source tools/cache.sh
export UV_CACHE_DIR=$cache/uv
uv=$cache/tools-uv-0.13.9/bin/uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pins=$work/pins
touch "$pins"
[ "${1:-}" = --upgrade ] || sed -n 's/^\([a-zA-Z0-9_.-]*==[^ ;]*\).*/\1/p' requirements.lock > "$pins"
# In a copy of the projects, so that the pins are constraints of this resolution and stand nowhere else.
git ls-files '*pyproject.toml' | xargs cp --parents -t "$work"
{
  sed '/^\[tool.uv\]$/q' pyproject.toml
  echo 'constraint-dependencies = ['
  sed 's/.*/  "&",/' "$pins"
  echo ']'
  sed '1,/^\[tool.uv\]$/d' pyproject.toml
} > "$work/pyproject.toml"
"$uv" lock --project "$work" --python /usr/bin/python3.11
export_lock() { "$uv" export -q --project "$work" --frozen "$@"; }
plain=(--no-emit-workspace --no-header --no-annotate --format requirements-txt)
export_lock --all-packages --all-extras "${plain[@]}" -o requirements.lock >/dev/null
wc -l requirements.lock
# Licences are those of what is installed: of `make test`'s environment, where it was made from these versions already.
python=$(PYTHONPATH=tools python3.11 -c 'from workshop.environment import complete; print(complete() / "bin/python")')
[ -x "$python" ] || python=python3
# The images take less: the operator no torch, the engine no tools of development and nothing of the demonstration.
for image in operator:aurora-operator runtime:aurora-core; do
  what=(--package "${image#*:}" --no-dev)
  [ "${image%%:*}" = runtime ] && what+=(--all-extras)
  export_lock "${what[@]}" "${plain[@]}" -o "images/${image%%:*}.lock" >/dev/null
  export_lock "${what[@]}" --format cyclonedx1.5 --preview-features sbom-export |
    "$python" images/sbom.py lock "images/${image%%:*}.lock" > "images/${image%%:*}.cdx.json"
done
# A contributor's environments, on any platform: the operator's without torch, and the core's without SGLang. With the
# versions of requirements.lock, so that a test means the same in each.
sed -n 's/^\([a-zA-Z0-9_.-]*==[^ ;]*\).*/\1/p' requirements.lock > "$pins"
small() { # lock, pyprojects with extras...
  local lock=$1; shift
  "$uv" pip compile -q --no-config --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-package aurora-core --no-emit-package aurora-operator -c "$pins" --group pyproject.toml:unit "$@" -o "$lock"
}
small operator/dev.lock operator/pyproject.toml --extra cli
small aurora_core/dev.lock operator/pyproject.toml aurora_core/pyproject.toml --extra cli --extra training
