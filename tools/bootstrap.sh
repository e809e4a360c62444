#!/usr/bin/env bash
# Makes a fresh Debian machine ready: system packages, uv, and the locked virtual environment.
# Everything it fetches or builds lies below one folder, AURORA_CACHE, so that the next run is quick.
# Prints the path of the environment's bin folder on its last line; all else goes to stderr.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
cache=${AURORA_CACHE:-$HOME/.cache/aurora}
python=${AURORA_PYTHON:-/usr/bin/python3.11}
uv_version=0.13.9
mkdir -p "$cache"
exec 3>&1 1>&2

packages=(python3.11 python3.11-venv libnuma1 libibverbs1 librdmacm1 libcurl4 liburing2)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -q
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

tools=$cache/tools-uv-$uv_version
[ -x "$tools/bin/uv" ] || { "$python" -m venv "$tools" && "$tools/bin/pip" install -q "uv==$uv_version"; }
export UV_CACHE_DIR=$cache/uv
uv() { "$tools/bin/uv" "$@"; }

# One environment per lock file and checkout: changing either makes a new one, and nothing is shared by accident.
stamp=$(cat requirements.lock pyproject.toml operator/pyproject.toml aurora_core/pyproject.toml \
  aurora_core/sgl_kernel_cpu/pyproject.toml <(echo "$root") | sha256sum | cut -c1-16)
venv=$cache/venv/$stamp
if [ ! -f "$venv/.complete" ]; then
  uv venv -q --clear --python "$python" "$venv"
  VIRTUAL_ENV=$venv uv pip sync -q --require-hashes requirements.lock
  VIRTUAL_ENV=$venv uv pip install -q --no-deps -e operator -e aurora_core -e aurora_core/sgl_kernel_cpu
  touch "$venv/.complete"
fi
find "$cache/venv" -mindepth 1 -maxdepth 1 -mtime +14 ! -name "$stamp" -exec rm -rf {} +
touch "$venv"
echo "$venv/bin" >&3
