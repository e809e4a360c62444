"""No text of a tenant takes effect in the reader's terminal."""

import json
import os
import sys

import pytest
from aurora_core.printable import printable
from aurora_operator.cli import main
from hostile import deep
from hostile_rounds import SPEC, STATUS, body
from hypothesis import given
from hypothesis import strategies as st

EVIL = "\x1b]0;owned\x07\x1b[2J\r[/bold][link=http://x]here[/link][/data/weights]\u202egnp.exe\x9b31m\ud83d\ude00"
KUBECTL = """#!{python}
import sys
words = sys.argv[1:]
if words[0] == "logs":
    sys.stdout.buffer.write({log!r} + b"\\xff\\n")
elif words[0] == "exec":
    print({manifest!r}); print("null"); print({log!r}.decode())
elif words[0] == "get" and "json" in words and "--namespace=bad" not in words:
    print({resource!r})
elif "--namespace=bad" in words:
    sys.stderr.buffer.write({log!r}); sys.exit(1)
else:
    print(1)
"""


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    entry = {**STATUS["history"][0], "reason": EVIL, "verdict": EVIL}
    conditions = [{**one, "message": EVIL, "reason": EVIL, "type": EVIL} for one in STATUS["conditions"]]
    status = {**STATUS, "history": [entry], "conditions": conditions}
    status["candidate"] = {**STATUS["candidate"], "verdict": EVIL}
    manifest = {
        "version": EVIL,
        "parent": EVIL,
        "created": EVIL,
        "step": EVIL,
        "bytes": 1,
        "holdout_accept_length": None,
    }
    resource = json.dumps(body(SPEC, status)).replace('"subPath"', '"new": ' + json.dumps(deep(100)) + ', "subPath"')
    log = EVIL.encode("utf-8", "surrogatepass") + b"\n"
    text = KUBECTL.format(python=sys.executable, log=log, manifest=json.dumps(manifest), resource=resource)
    path = tmp_path / "kubectl"
    path.write_text(text)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["aurora", *words])
    monkeypatch.setattr(json, "_default_decoder", json._default_decoder)
    try:
        main.main()
    except SystemExit as end:
        return str(end.code)
    return ""


@pytest.mark.usefixtures("kubectl")
@pytest.mark.parametrize(
    "words",
    [
        ("status", "chat"), ("explain", "chat"), ("versions", "chat"), ("logs", "chat"), ("doctor", "chat"),
        ("promote", "chat", "--timeout", "0"), ("rollback", "chat", "--timeout", "0"), ("status",), ("status", "-A"),
        ("pause", EVIL[:-2], "--timeout", "0"), ("status", "chat", "-n", "bad"), ("explain", "chat", "-o", "json"),
    ],
)  # fmt: skip
def test_what_a_command_shows_has_no_effect(words, capsys, monkeypatch):
    end = run(monkeypatch, *words)
    out, err = capsys.readouterr()
    assert (out + err + end).replace("\n", "").isprintable()
    assert out or "owned" in end


@pytest.mark.usefixtures("kubectl")
def test_markup_is_shown_as_it_is(capsys, monkeypatch):
    run(monkeypatch, "explain", "chat")
    assert "[/bold][link=http://x]here[/link][/data/weights]" in capsys.readouterr().out


@given(st.text())
def test_printable_text_stays_and_all_other_is_escaped(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


@given(st.text(min_size=11))
def test_what_is_cut_is_marked(text):
    assert printable("x" * 11 + text, 10) == "x" * 9 + "…"
