#!/usr/bin/env bash
# benchmarks/soak/verdicts.py on a real node, which is started for it and stopped at the end. Arguments go to it.
exec "$(dirname "$0")/workshop.sh" soak verdicts "$@"
