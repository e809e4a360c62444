#!/usr/bin/env bash
# Runs tools/workshop with a Python of 3.11 or newer: the machine's, or uv's, or Debian's package.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=tools
for python in python3.11 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    exec "$python" -m workshop "$@"
  fi
done
if command -v uv >/dev/null; then exec uv run -q --no-project --python 3.11 python -m workshop "$@"; fi
command -v apt-get >/dev/null || { echo "needs Python 3.11, or uv (https://docs.astral.sh/uv), on the PATH" >&2; exit 1; }
sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
echo "system packages: python3.11, about 20 s" >&2
{ $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3.11; } >&2
exec python3.11 -m workshop "$@"
