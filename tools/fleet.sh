#!/usr/bin/env bash
# benchmarks/fleet.py on a real API server, which is started for it and stopped at the end. Arguments go to it.
exec "$(dirname "$0")/workshop.sh" benchmark --api-only fleet "$@"
