"""The operator by its chart."""

from pathlib import Path

from workshop.cache import ROOT

_SECONDS = 300


def upgrade(registry: str, tag: str, helm: str | Path = "helm") -> tuple[str, ...]:
    """The helm command that installs it, or upgrades it, on the cluster that KUBECONFIG names."""
    return (
        str(helm), "upgrade", "--install", "aurora", str(ROOT / "charts" / "aurora-operator"),
        "--namespace", "aurora-system", "--create-namespace", "--set", f"images.registry={registry}",
        "--set-string", f"images.tag={tag}", "--wait", "--timeout", f"{_SECONDS}s",
    )  # fmt: skip
