"""What a release's tag must agree with, and its notes: the changelog's section of that version.

Usage: tools/release.py vX.Y.Z   prints the notes, or what keeps this checkout from being that release.
"""

import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from workshop.cache import ROOT
from workshop.environment import PROJECTS

CHART = "charts/aurora-operator/Chart.yaml"
_TAG = re.compile(r"v(\d+\.\d+\.\d+)")


def versions(root: Path) -> dict[str, str]:
    """Every version that the checkout states, by where it states it."""
    paths = (path.relative_to(ROOT) for path in PROJECTS)
    found = {str(path): tomllib.loads((root / path).read_text())["project"]["version"] for path in paths}
    stated = re.findall(r"^(version|appVersion): *\"?([^\s\"]+)", (root / CHART).read_text(), re.MULTILINE)
    return found | {f"{CHART} {key}": version for key, version in stated}


def notes(changelog: str, version: str) -> str | None:
    """The section of a version that has a date, without its heading; None where there is none."""
    heading = re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE)
    if heading is None:
        return None
    return changelog[heading.end() :].partition("\n## ")[0].strip()


def problems(tag: str, stated: Mapping[str, str], changelog: str) -> list[str]:
    """What keeps the checkout from being the release that a tag names."""
    match = _TAG.fullmatch(tag)
    if match is None:
        return [f"{tag} is no release's tag: vX.Y.Z"]
    version = match[1]
    found = [f"{where} says {other}, and not {version}" for where, other in stated.items() if other != version]
    if not notes(changelog, version):
        found.append(f"CHANGELOG.md has no section `## {version} (YYYY-MM-DD)` with text in it")
    return found


def main() -> None:
    """See the module."""
    if len(sys.argv) != 2:  # noqa: PLR2004 (the program and its argument)
        sys.exit(str(__doc__))
    tag, changelog = sys.argv[1], (ROOT / "CHANGELOG.md").read_text()
    found = problems(tag, versions(ROOT), changelog)
    if found:
        sys.exit("\n".join(found))
    print(notes(changelog, tag.removeprefix("v")))  # noqa: T201 (the notes are its output)


if __name__ == "__main__":
    main()
