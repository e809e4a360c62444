#!/usr/bin/env bash
# Builds the wheels that images/Dockerfile takes into dist/, and prints the images' tag: the same sources give the same
# tag, whatever a wheel's timestamps are.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${AURORA_CACHE:-$HOME/.cache/aurora}
uv=$(ls -d "$cache"/tools-uv-*/bin/uv | tail -1)
rm -rf dist
for package in operator aurora_core aurora_core/sgl_kernel_cpu; do
  UV_CACHE_DIR=$cache/uv "$uv" build -q --wheel -o dist "$package" >&2
done
rm -f dist/.gitignore
git ls-files -co --exclude-standard -- images operator/src aurora_core | sort | xargs sha256sum | sha256sum | cut -c1-12
