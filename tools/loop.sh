#!/usr/bin/env bash
# The learning loop without Kubernetes, as processes on this machine. Arguments go to `aurora-core loop`.
exec "$(dirname "$0")/workshop.sh" loop "$@"
