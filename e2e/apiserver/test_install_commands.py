"""The commands of the install pages: bash, kubectl, helm and aurora parse each; the server takes what values give."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from apiserver_support import ROOT, kubectl
from chart_support import rendered

PAGES = sorted((ROOT / "docs" / "install").glob("*.md"))
FENCED = [
    (path.name, language, text)
    for path in PAGES
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE)
]
BLOCKS = [(name, text) for name, language, text in FENCED if not language]
VALUES = [(name, text) for name, _, text in FENCED if text.startswith("# values\n")]
OPENSHIFT_ALONE = ("oc new-project", "oc adm", "oc create route")


def commands():
    """Each kubectl, oc, helm and aurora of the pages as its words; values that a shell fills in stay as they are."""
    for name, text in BLOCKS:
        joined = re.sub(r" - <<EOF\n.*?^EOF$", " -", text.replace("\\\n", " "), flags=re.DOTALL | re.MULTILINE)
        for line in joined.splitlines():
            if line.startswith(("kubectl ", "oc ", "helm ")) and not line.startswith(OPENSHIFT_ALONE):
                yield name, shlex.split(line, comments=True)


@pytest.mark.parametrize(("name", "text"), BLOCKS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(BLOCKS)])
def test_a_shell_parses_a_page_s_commands(name, text):
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), name


def test_every_command_knows_its_options():
    """Given a command with --help at its end, when an option before it does not exist, then it fails."""
    found = list(commands())
    assert len(found) > 20
    aurora = str(Path(sys.executable).parent / "aurora")
    for name, words in found:
        called = {"oc": ["kubectl"], "kubectl": ["kubectl"], "helm": ["helm"]}[words[0]] + words[1:]
        if words[:2] == ["kubectl", "aurora"]:
            called = [aurora, *words[2:]]
        done = subprocess.run([*called, "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (name, words, done.stderr)
    assert kubectl("get", "nodes", "--no-such-option", "--help").returncode != 0


def test_files_and_charts_of_this_repository_that_commands_name_are_there():
    named = {word for _, words in commands() for word in words if word.startswith(("charts/", "examples/"))}
    assert named
    assert [word for word in named if not (ROOT / word).exists()] == []


@pytest.mark.parametrize(("name", "text"), VALUES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(VALUES)])
def test_a_page_s_values_give_what_the_api_server_takes(name, text, tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text(text)
    made = rendered("--values", str(file), "--set", "crds.install=false,images.registry=r.example.org")
    known = [body for body in yaml.safe_load_all(made) if body and "monitoring.coreos.com" not in body["apiVersion"]]
    done = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump_all(known))
    assert done.returncode == 0, (name, done.stderr)
