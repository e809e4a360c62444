"""Fixtures of the operator's unit tests."""

import json
import sys

import pytest
from aurora_operator.cli import effect, main
from aurora_operator.render.identity import Resource
from hypothesis import settings
from kubectl_stub import Stub
from operator_support import a_spec

# How long one example takes depends on what else the machine does; pytest's own timeout ends what hangs.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def resource():
    return Resource("chat", "ns", "u-1", a_spec())


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    monkeypatch.setattr(effect, "_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(json, "_default_decoder", json._default_decoder)
    return Stub(tmp_path, monkeypatch)


@pytest.fixture
def run(monkeypatch, capsys):
    def called(*words):
        monkeypatch.setattr(sys, "argv", ["aurora", *words])
        code = 0
        try:
            main.main()
        except SystemExit as end:
            code = end.code
        out = capsys.readouterr().out
        return code, out if isinstance(code, int) or code is None else f"{out}{code}"

    return called
