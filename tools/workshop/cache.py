"""The one folder below which everything lies that is fetched or built."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""
CACHE = Path(os.environ.get("AURORA_CACHE") or Path.home() / ".cache" / "aurora")
LOGS = CACHE / "log"


def digest(paths: Iterable[Path], *more: str) -> str:
    """16 hexadecimal digits that change with the content of any of the files, or with a word."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes())
    for word in more:
        total.update(word.encode() + b"\n")
    return total.hexdigest()[:16]


class Durations:
    """How long each step took the last time that it had something to do, in seconds; kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _read(self) -> dict[str, float]:
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {str(name): float(value) for name, value in found.items() if isinstance(value, int | float)}

    def expected(self, name: str, default: float) -> float:
        """Seconds that a step will take, as far as one knows."""
        return self._read().get(name, default)

    def record(self, name: str, seconds: float) -> None:
        """Remember a step that succeeded; a folder that cannot be written loses the estimate and nothing else."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_suffix(f".{os.getpid()}")
            new.write_text(json.dumps(self._read() | {name: round(seconds, 1)}, indent=1))
            new.replace(self._path)
        except OSError:
            return
