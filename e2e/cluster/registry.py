"""A plain registry inside the node's network; what was pushed once stays."""

import json
import subprocess
import sys

from host import BUILDAH, CACHE, REGISTRY, Host, run, wait


def start(host: Host) -> None:
    """Start it, and wait until it answers."""
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(CACHE / "cluster" / "registry")}},
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


def pause_image(host: Host) -> None:
    """The image of every pod's sandbox, from the component that was built."""
    container = run(*BUILDAH, "from", "scratch").strip()
    run(*BUILDAH, "add", "-q", container, str(host.bin / "pause"), "/pause")
    run(*BUILDAH, "config", "--entrypoint", '["/pause"]', "--user", "65532:65532", container)
    run(*BUILDAH, "commit", "-q", "--rm", container, "localhost/pause:1")
    push(host, "localhost/pause:1", "pause:1")
