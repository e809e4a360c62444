#!/usr/bin/env bash
# Builds the wheels that images/Dockerfile takes into dist/, and prints the images' tag: the same sources give the same
# tag, whatever a wheel's timestamps are. Takes the uv of tools/bootstrap.sh, or the one on the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/cache.sh
source tools/cache.sh
uv=$(compgen -G "$cache/tools-uv-*/bin/uv" | tail -1 || true)
uv=${uv:-$(command -v uv || true)}
[ -n "$uv" ] || { echo "images/wheels.sh needs uv on the PATH: https://docs.astral.sh/uv" >&2; exit 1; }
rm -rf dist
for package in operator aurora_core aurora_core/sgl_kernel_cpu; do
  UV_CACHE_DIR=$cache/uv "$uv" build -q --wheel -o dist "$package" >&2
done
rm -f dist/.gitignore
git ls-files -co --exclude-standard -- images operator/src operator/pyproject.toml \
  aurora_core/pyproject.toml aurora_core/src aurora_core/sgl_kernel_cpu/{src,pyproject.toml} | sort | xargs sha256sum | sha256sum | cut -c1-12
