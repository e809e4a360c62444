#!/usr/bin/env python3
"""Puts the product on the local node: images into its registry, Prometheus, and the operator by its Helm chart."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import registry
from host import BUILDAH, REGISTRY, Host, build, run
from workshop.build import IMAGES as BUILD_IMAGES
from workshop.build import PROMETHEUS
from workshop.chart import upgrade

IMAGES = ("aurora-operator", "aurora-engine", "aurora-trainer")


def say(text: str, since: float) -> None:
    """A line with the time that it took."""
    print(f"  {text}: {time.monotonic() - since:.0f} s", flush=True)


def images(host: Host) -> str:
    """Build and push the images; returns their tag."""
    since = time.monotonic()
    tag = build("images", 300, BUILD_IMAGES, REGISTRY)
    say("images built", since)
    since = time.monotonic()
    for image in IMAGES:
        if not registry.answers(host, f"http://{REGISTRY}/v2/{image}/manifests/{tag}"):
            registry.push(host, f"{REGISTRY}/{image}:{tag}", f"{image}:{tag}")
    say("images pushed", since)
    since = time.monotonic()
    # The engine's image is large: fetched now, it does not count as start-up time.
    for image in ("aurora-engine", "aurora-trainer"):
        run(*host.inside("ctr", "-a", str(host.socket), "-n", "k8s.io", "images", "pull", "--hosts-dir",
                         str(host.state / "hosts"), f"{REGISTRY}/{image}:{tag}"))  # fmt: skip
    say("images on the node", since)
    return tag


def prometheus(host: Host) -> str:
    """A real Prometheus in the namespace monitoring; returns its image's name."""
    since = time.monotonic()
    folder = Path(__file__).parent / "prometheus"
    binaries = Path(build("Prometheus", 90, PROMETHEUS))
    tag = binaries.name.rsplit("-", 1)[1]
    name = f"aurora-e2e-prometheus:{tag}"
    if not registry.answers(host, f"http://{REGISTRY}/v2/aurora-e2e-prometheus/manifests/{tag}"):
        run(*BUILDAH, "bud", "-q", "--isolation", "chroot", "--build-arg", "BASE=localhost/aurora-debian:bookworm-slim",
            "-f", str(folder / "Dockerfile"), "-t", f"localhost/{name}", str(binaries))  # fmt: skip
        registry.push(host, f"localhost/{name}", name)
    text = (folder / "prometheus.yaml").read_text().replace("PROMETHEUS_IMAGE", f"{REGISTRY}/{name}")
    host.kubectl("apply", "-f", "-", stdin=text)
    say("Prometheus", since)
    return name


def operator(host: Host, tag: str) -> None:
    """The operator, by helm, in the namespace aurora-system."""
    since = time.monotonic()
    run(*host.inside(*upgrade(REGISTRY, tag, helm=host.bin / "helm"), "--kubeconfig", str(host.kubeconfig)))
    host.kubectl("rollout", "status", "-n", "aurora-system", "deployment/aurora", "--timeout=120s")
    host.kubectl("rollout", "status", "-n", "monitoring", "deployment/prometheus", "--timeout=120s")
    say("operator", since)


def main() -> None:
    """All of it, on a node that runs."""
    host = Host()
    host.bin = Path((host.state / "bin").read_text())
    tag = images(host)
    used = prometheus(host)
    operator(host, tag)
    registry.keep(host, used, *(f"{image}:{tag}" for image in IMAGES))


if __name__ == "__main__":
    main()
