#!/usr/bin/env bash
# The learning loop without Kubernetes, as processes on this machine. Arguments go to `aurora-demo loop`.
exec "$(dirname "$0")/workshop.sh" loop "$@"
