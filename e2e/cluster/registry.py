"""A plain registry inside the node's network; what was pushed stays until another tag of it takes its place."""

import fcntl
import json
import shutil
import subprocess
import sys

from host import BUILDAH, REGISTRY, Host, run, wait
from workshop.cache import CACHE

STORE = CACHE / "cluster" / "registry"


def start(host: Host) -> None:
    """Start it, and wait until it answers."""
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(STORE)}},
        "http": {"addr": REGISTRY, "secret": "local"},
        "log": {"level": "warn"},
    }
    path = host.state / "registry.json"
    path.write_text(json.dumps(config))
    host.spawn("registry", str(host.bin / "registry"), "serve", str(path),
               env={"OTEL_TRACES_EXPORTER": "none"})  # fmt: skip
    wait("the registry", lambda: answers(host, f"http://{REGISTRY}/v2/"), 30)


def answers(host: Host, url: str) -> bool:
    """Whether a URL answers with success, asked from inside."""
    accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
    code = f"import urllib.request as u; u.urlopen(u.Request({url!r}, headers={{'Accept': {accept!r}}}), timeout=5)"
    return subprocess.run(host.inside(sys.executable, "-c", code), check=False, capture_output=True).returncode == 0


def push(host: Host, local: str, name: str) -> str:
    """Push an image of the build store into the registry, and return its name there."""
    remote = f"{REGISTRY}/{name}"
    run(*host.inside(*BUILDAH, "push", "-q", "-D", "--tls-verify=false", local, f"docker://{remote}"))
    return remote


def keep(host: Host, *names: str) -> None:
    """Drop every image but these and the pause image, NAME:TAG each, from the registry and from the node."""
    kept = {*names, "pause:1"}
    old = [tag for tag in (STORE / "docker" / "registry" / "v2" / "repositories").glob("*/_manifests/tags/*")
           if f"{tag.parents[2].name}:{tag.name}" not in kept]  # fmt: skip
    for tag in old:
        shutil.rmtree(tag)
    if old:
        run(str(host.bin / "registry"), "garbage-collect", "--delete-untagged", str(host.state / "registry.json"))
    ctr = ("ctr", "-a", str(host.socket), "-n", "k8s.io", "images")
    # An image has further names there, by digest; they go with it.
    digests = {line[0]: line[2] for line in map(str.split, run(*ctr, "ls").splitlines()[1:])}
    used = {digest for name, digest in digests.items() if name.removeprefix(f"{REGISTRY}/") in kept}
    unused = [name for name, digest in digests.items() if digest not in used]
    if unused:
        run(*ctr, "rm", "--sync", *unused)


def pause_image(host: Host) -> None:
    """The image of every pod's sandbox, from the component that was built."""
    if answers(host, f"http://{REGISTRY}/v2/pause/manifests/1"):
        return
    # images/build.sh removes all working containers at its end.
    with (CACHE / "buildah.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        container = run(*BUILDAH, "from", "scratch").strip()
        run(*BUILDAH, "add", "-q", container, str(host.bin / "pause"), "/pause")
        run(*BUILDAH, "config", "--entrypoint", '["/pause"]', "--user", "65532:65532", container)
        run(*BUILDAH, "commit", "-q", "--rm", container, "localhost/pause:1")
    push(host, "localhost/pause:1", "pause:1")
