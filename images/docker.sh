#!/usr/bin/env bash
# Builds the images with docker, or podman (BUILDER=podman); prints their tag on its last line.
# Needs that and uv on the PATH. Usage: images/docker.sh REGISTRY [--push] [BUILD OPTIONS...]
# REGISTRY is what stands before /aurora-operator, -engine and -trainer; what follows goes to `docker build`, such as
#   --build-arg ENGINE_BASE=lmsysorg/sglang:v0.5.23      the plugin on SGLang's own image, for GPUs
# TAG is theirs, by default a digest of the sources; IMAGES are the ones to build, by default all.
# Base images are taken by the digests of images/base.lock, which images/pin.py fills; UNPINNED=1 takes what tags have now.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || { sed -n '2,8s/^# //p' "$0" >&2; exit 2; }
registry=$1; shift
push=; [ "${1:-}" = --push ] && { push=1; shift; }
builder=${BUILDER:-docker}
command -v "$builder" >/dev/null || { echo "images/docker.sh needs $builder on the PATH" >&2; exit 1; }
pinned=()
if [ -z "${UNPINNED:-}" ]; then
  pins=$(python3 images/pin.py pin "$@")
  for pin in $pins; do pinned+=(--build-arg "$pin"); done
fi
built=$(images/wheels.sh)
tag=${TAG:-$built}
exec 3>&1 1>&2
for image in ${IMAGES:-operator engine trainer}; do
  name=$registry/aurora-$image:$tag
  DOCKER_BUILDKIT=1 "$builder" build --target "$image" -t "$name" -f images/Dockerfile "$@" "${pinned[@]}" .
  [ -z "$push" ] || "$builder" push "$name"
done
echo "$tag" >&3
