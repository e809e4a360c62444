"""The words that docs/glossary.md replaces: each hit in a tracked file is printed with the term to use instead.

``python tools/vocabulary.py`` exits with 1 where it found any. Names count as text: their parts are read as words.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

INSTEAD = {
    r"looks?|looked|looking": "reconcile, analysis, poll or probe",
    r"told|tells?|telling": "report, announce, show",
    r"asking": "poll, query",
    r"world(?! size)": "snapshot",
    r"doors?": "admission, endpoint",
    r"anew": "again, restart, recreate",
    r"wanted": "desired",
    r"knobs?": "control command",
    r"born": "new",
    r"twins?": "duplicate",
    r"merit": "holdout score",
    r"retire[sd]?|retiring": "prune",
    r"story|stories": "timeline",
    r"judge[sd]?|judging": "decide, evaluate",
    r"spoken?|spoke": "generated",
    r"somebody": "someone, another owner",
    r"by hand": "manually",
    r"(?:has the|with) words(?! below)|a problem in words": "message",
    r"(?:goes|go|went) on(?! trial| counting)": "continue, resume",
    r"whole": "complete, full, entire, intact, verified; integer for a whole number",
    r"said": "reported, stated, given, documented; generated for tokens",
    r"holds(?! kv)": "contains, has, stores, keeps; is true, applies",
    r"places": "paths, positions, locations",
    r"(?:engines?(?:'s)?|random|users?') keys": "credentials",
    r"(?<!API )(?<!admin )(?<!signing )keys (?:between|of (?:an|one|the|each) engine|leak)": "credentials",
    r"main models?|base models?(?!\.model)": "target",
    r"cohorts?": "stratum",
    r"ha[ds] its verdict": "decided",
    r"a second(?=[,.|]| at| per|$)": "per second",
}
"""Pattern of complete words, and what to write instead. SGLang's own names stay, as ``holds_kv``, and PEFT's."""

SKIPPED = {
    "docs/glossary.md",
    "tools/vocabulary.py",
    "tools/tests/test_glossary.py",
    "CHANGELOG.md",
    "LICENSE",
    # Kubernetes' own descriptions, and prompts.
    "operator/src/aurora_operator/api/pod_template.json",
    "examples/prompts/make.py",
}
TEXT = {".py", ".md", ".sh", ".yaml", ".yml", ".toml", ".json", ".txt", ".tpl", ""}

_PATTERNS = [
    (re.compile(rf"(?<![A-Za-z])(?:{words})(?![A-Za-z])", re.IGNORECASE | re.MULTILINE), instead)
    for words, instead in INSTEAD.items()
]


def findings(text: str) -> list[tuple[int, str, str]]:
    """Line (from 1), word found and term to use, for each old word of a text."""
    text = text.replace("_", " ")
    found = [
        (text.count("\n", 0, match.start()) + 1, match.group(), instead)
        for pattern, instead in _PATTERNS
        for match in pattern.finditer(text)
    ]
    return sorted(found)


def main() -> int:
    """Check every tracked text file; 1 where an old word is left."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S607
    failed = False
    for name in listed.splitlines():
        path = ROOT / name
        if name in SKIPPED or path.suffix not in TEXT or not path.is_file():
            continue
        # A CRD embeds Kubernetes' own descriptions.
        for line, word, instead in findings(path.read_text(encoding="utf-8")):
            failed = True
            sys.stdout.write(f"{name}:{line}: {word!r}: write {instead} (docs/glossary.md)\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
