"""A release's tag agrees with every version that the checkout states, and has notes."""

import re
import tomllib

import pytest
from release import ROOT, notes, problems, versions

CHANGELOG = "# Changelog\n\n## 0.2.0 (2026-12-01)\n\n- New.\n\n## 0.1.0 (2026-11-01)\n\n- First.\n"
STATED = {"pyproject.toml": "0.2.0", "Chart.yaml version": "0.2.0"}


def test_this_checkout_states_one_version():
    assert len(set(versions(ROOT).values())) == 1


def test_notes_are_the_version_s_own_section():
    assert notes(CHANGELOG, "0.2.0") == "- New."
    assert notes(CHANGELOG, "0.1.0") == "- First."


@pytest.mark.parametrize(
    ("tag", "stated", "changelog", "part"),
    [
        ("0.2.0", STATED, CHANGELOG, "no release's tag"),
        ("v0.2.0-rc1", STATED, CHANGELOG, "no release's tag"),
        ("v0.2.0", STATED | {"Chart.yaml version": "0.1.0"}, CHANGELOG, "Chart.yaml version says 0.1.0"),
        ("v0.2.0", STATED, CHANGELOG.replace("2026-12-01", "unreleased"), "no section"),
        ("v0.2.0", STATED, CHANGELOG.replace("- New.\n", ""), "no section"),
    ],
)
def test_what_keeps_a_checkout_from_being_the_release_is_named(tag, stated, changelog, part):
    (problem,) = problems(tag, stated, changelog)
    assert part in problem


def test_a_checkout_that_agrees_is_the_release():
    assert problems("v0.2.0", STATED, CHANGELOG) == []


def test_every_file_of_changes_is_taken_into_the_changelog():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
    kinds = "|".join(kind["directory"] for kind in settings["type"])
    folder = ROOT / settings["directory"]
    names = {path.name for path in folder.iterdir()} - set(settings["ignore"])
    assert [name for name in sorted(names) if not re.fullmatch(rf"\+[a-z0-9-]+\.({kinds})\.md", name)] == []
    assert [name for name in sorted(names) if not (folder / name).read_text().strip()] == []
    assert (ROOT / settings["filename"]).read_text().startswith(settings["start_string"])
