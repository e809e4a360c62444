"""A kubectl with one SpeculatorDeployment: it answers from files, and notes what it was called with."""

import json
import os
import sys

SCRIPT = """#!{python}
import json, os, sys, pathlib
here = pathlib.Path({folder!r})
words = sys.argv[1:]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")
answers = json.loads((here / "answers").read_text())
for key, (code, out, error) in answers.items():
    if all(part in words for part in key.split()):
        if words[0] == "annotate":
            (here / "answers").write_text(json.dumps({{**answers, **json.loads((here / "after").read_text())}}))
        sys.stdout.write(out); sys.stderr.write(error); sys.exit(code)
sys.stderr.write("Error from server (NotFound): " + " ".join(words) + " not found"); sys.exit(1)
"""


class Stub:
    """On the PATH as kubectl.

    Answers are tried in their order; a key is words that all are among the arguments.
    """

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        path = folder / "kubectl"
        path.write_text(SCRIPT.format(python=sys.executable, folder=str(folder)))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        self.answer({})
        self.after({})

    def answer(self, answers):
        (self.folder / "answers").write_text(json.dumps(answers))

    def after(self, answers):
        """What it answers once something was annotated."""
        (self.folder / "after").write_text(json.dumps(answers))

    @property
    def calls(self):
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
