"""What of a support bundle must not leave the cluster: Secrets are never read; this removes what may be quoted."""

import re
from collections.abc import Mapping
from typing import Any

REMOVED = "<removed>"
_KEYS = r"api[-_]?key|private[-_]?key|access[-_]?key"
_SENSITIVE = re.compile(rf"(?i)(token|secret|passw|passphrase|credential|auth|{_KEYS})")
_NAMED = re.compile(rf"(?i)(token|passw(or)?d|passphrase|credentials?|{_KEYS})$")
"""A field with such a name has one itself; ``secretName`` and ``tokenSecret`` name one."""
_PATTERNS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*"),
    re.compile(r"\b(?:hf_|sk-|ghp_|gho_|ghs_|glpat-|xox[abprs]-|AKIA|ASIA)[A-Za-z0-9_-]{10,}"),
    re.compile(r"(?<=://)[^/\s@\"']+(?=@)"),
)
_ASSIGNED = re.compile(
    r"(?i)((?:[\w-]*(?:token|secret|passw(?:or)?d|passphrase|credential|api[-_]?key|private[-_]?key|access[-_]?key)s?)"
    r"[\"']?\s*[:=]\s*|--[\w-]*(?:token|secret|password|key)[\"']?,?\s+)([\"']?)(?!(?:\d{1,12}(?:\.\d+)?|None|null|True|False)\b)"
    r"([^\s\"',;&}]+)"
)


def text(raw: str) -> str:
    """A text, such as a log, without what resembles a credential."""
    for pattern in _PATTERNS:
        raw = pattern.sub(REMOVED, raw)
    return _ASSIGNED.sub(lambda match: f"{match[1]}{match[2]}{REMOVED}", raw)


def tree(value: Any, name: str = "") -> Any:  # noqa: ANN401 (JSON)
    """An object of the cluster without credentials, managed fields, and the copy that ``kubectl apply`` keeps."""
    if isinstance(value, str) and _NAMED.search(name):
        return REMOVED
    if isinstance(value, Mapping):
        if "name" in value and "value" in value and _SENSITIVE.search(str(value["name"])):
            return {**value, "value": REMOVED}
        return {
            key: tree(part, str(key))
            for key, part in value.items()
            if key not in {"managedFields", "kubectl.kubernetes.io/last-applied-configuration"}
        }
    if isinstance(value, list):
        return _arguments([tree(part) for part in value])
    return text(value) if isinstance(value, str) else value


def _arguments(values: list[Any]) -> list[Any]:
    """A command line whose arguments are elements of their own: the one after ``--token`` goes."""
    out: list[Any] = []
    for value in values:
        before = out[-1] if out else None
        hidden = isinstance(before, str) and before.startswith("--") and "=" not in before and _SENSITIVE.search(before)
        out.append(REMOVED if hidden and isinstance(value, str) and not value.startswith("--") else value)
    return out
