# shellcheck shell=bash
# Sourced by every script that keeps something. Sets cache: the folder below which everything lies that is fetched or
# built. tools/workshop/cache.py says the same for Python, and a test checks that both are the same.
# shellcheck disable=SC2034 # The scripts that source this use it.
cache=${AURORA_CACHE:-$HOME/.cache/aurora}
