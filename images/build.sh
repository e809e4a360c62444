#!/usr/bin/env bash
# Builds the images with buildah and pushes them to the registry of the local node; rootful, no daemon.
# Usage: images/build.sh REGISTRY   (host:port of a plain registry). Prints the tag on its last line.
set -euo pipefail
cd "$(dirname "$0")/.."
registry=$1
# shellcheck source=tools/cache.sh
source tools/cache.sh
uv=$(ls -d "$cache"/tools-uv-*/bin/uv | tail -1)
exec 3>&1 1>&2
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=overlay UV_CACHE_DIR=$cache/uv
store=(--root "$cache/buildah" --runroot "$cache/buildah-run")
build() { buildah "${store[@]}" "$@"; }

base=localhost/aurora-debian:bookworm-slim
if ! build inspect --type image "$base" >/dev/null 2>&1; then
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  echo "base image: Debian bookworm"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$root/fs" >/dev/null
  # What Debian's own slim image leaves out as well.
  rm -rf "$root"/fs/var/cache/apt/archives/*.deb "$root"/fs/var/lib/apt/lists/* \
    "$root"/fs/usr/share/{doc,man,locale,info}/*
  container=$(build from scratch)
  build add -q "$container" "$root/fs" / >/dev/null
  build commit -q --rm "$container" "$base" >/dev/null
fi
uv_image=localhost/aurora-uv:$("$uv" --version | awk '{print $2}')
if ! build inspect --type image "$uv_image" >/dev/null 2>&1; then
  container=$(build from scratch)
  build add -q "$container" "$uv" /uv >/dev/null
  build commit -q --rm "$container" "$uv_image" >/dev/null
fi

tag=$(images/wheels.sh)
lock=$(sha256sum images/runtime.lock images/Dockerfile | sha256sum | cut -c1-12)
for image in operator runtime engine trainer; do
  name=$registry/aurora-$image:$tag
  # The large environment depends on its lock alone, and is a base for the two images that add the project to it.
  [ "$image" = runtime ] && name=localhost/aurora-runtime:$lock
  if ! build inspect --type image "$name" >/dev/null 2>&1; then
    echo "image aurora-$image:$tag"
    build bud -q --layers --target "$image" --build-arg BASE="$base" --build-arg UV_IMAGE="$uv_image" \
      --build-arg UV_OFFLINE=1 \
      --build-arg ENGINE_BASE=localhost/aurora-runtime:$lock \
      --volume "$cache/uv:/root/.cache/uv" \
      -t "$name" -f images/Dockerfile . >/dev/null
  fi
done
# One set is kept: what older sources built goes, and the working containers that mounts of a stage leave behind.
# Not while a node that starts meanwhile makes an image (registry.py).
(flock 9; build rm --all >/dev/null) 9> "$cache/buildah.lock"
build images --format '{{.Name}}:{{.Tag}}' |
  awk -F: -v tag="$tag" -v lock="$lock" '/\/aurora-(operator|runtime|engine|trainer):/ && $NF != tag && $NF != lock' |
  xargs -r buildah "${store[@]}" rmi >/dev/null
build rmi --prune >/dev/null
build images --format '{{.Name}}:{{.Tag}} {{.Size}}' | awk -v name="$registry/aurora-operator:$tag" \
  '$1 == name {print "image aurora-operator:", $2, $3}'
echo "$tag" >&3
