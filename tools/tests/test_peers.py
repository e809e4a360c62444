"""The comparison with peers: all train on the same rows, and its tables say what was measured."""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from aurora_core.samples.schema import Sample

# Last of all: a benchmark there has the name of a package.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from peer_cases import (
    CPU_CASES,
    TINY,
    Case,
    Settings,
    as_json,
    joined,
    padded,
    random_documents,
    read_documents,
    write_documents,
)
from peer_processes import Peer, install, project, source, variables
from peer_tables import at_seconds, lengths, speeds

CASE = Case((20, 33, 12), 0.4, 3, "fp32")
CPU = torch.device("cpu")


@pytest.mark.parametrize("prompt", [0.0, 0.4, 0.9])
def test_every_trainer_trains_on_the_rows_that_ours_does(prompt: float) -> None:
    found = random_documents(replace(CASE, prompt=prompt), TINY)
    roots = [Sample("", one.tokens, one.prompt, one.aux, one.last, 0, "").roots for one in found]

    batch, packed = padded(found, CPU, torch.float32), joined(found, CPU, torch.float32)

    assert batch.trained.sum(-1).tolist() == roots
    assert int(packed["loss_mask"].sum()) == sum(roots)
    for number, one in enumerate(found):
        at = packed["document_ids"][0] == number
        trained = batch.trained[number, : one.rows - 1].bool()
        assert torch.equal(packed["loss_mask"][0, at], trained)
        # Beside a row: its token and the target's states one further, as SpecForge and TorchSpec shift them.
        assert torch.equal(packed["input_ids"][0, at], batch.tokens[number, 1 : one.rows])
        assert torch.equal(packed["verifier_last_hidden_states"][0, at], batch.last[number, 1 : one.rows])
        assert torch.equal(packed["hidden_states"][0, at], batch.aux[number, : one.rows - 1])


def test_samples_are_the_same_in_every_process_and_from_a_file(tmp_path: Path) -> None:
    first, again = random_documents(CASE, TINY), random_documents(CASE, TINY)
    write_documents(tmp_path / "d.safetensors", first, torch.arange(7))

    read, ids = read_documents(tmp_path / "d.safetensors")

    assert ids.tolist() == list(range(7))
    for one, other, third in zip(first, again, read, strict=True):
        assert one.prompt == other.prompt == third.prompt
        for name in ("tokens", "aux", "last"):
            assert torch.equal(getattr(one, name), getattr(other, name))
            assert torch.equal(getattr(one, name), getattr(third, name))


@pytest.mark.parametrize("case", [*CPU_CASES.values(), replace(CASE, settings=Settings(1e-3, 10, 1.0, 0.8))])
def test_a_case_reaches_a_process_as_it_is(case: Case) -> None:
    assert Case.read(json.loads(json.dumps(as_json(case)))) == case


def test_speed_and_memory_are_compared_with_the_fastest_peer_and_not_with_ours() -> None:
    rows = [
        {"case": "a", "trainer": "ours", "tokens_per_second": 300.0, "extra_gib": 1.0},
        {"case": "a", "trainer": "specforge-compact", "tokens_per_second": 90.0, "extra_gib": 4.0},
        {"case": "a", "trainer": "torchspec", "tokens_per_second": 90.0, "extra_gib": 1.9},
        {"case": "a", "trainer": "torchspec", "tokens_per_second": 110.0, "extra_gib": 2.0},
        {"case": "a", "trainer": "speculators", "error": "no"},
        {"case": "b", "trainer": "ours", "tokens_per_second": 5.0, "extra_gib": 1.0},
    ]

    assert speeds(rows).splitlines()[2:] == [
        "| a | ours | 300 | 3.00 | 1.00 | 0.50 |",
        "| a | specforge-compact | 90 | 0.90 | 4.00 | 2.00 |",
        "| a | torchspec | 100 | 1.00 | 2.00 | 1.00 |",
        "| a | speculators | failed | | | |",
        "| b | ours | 5 |  | 1.00 |  |",
    ]


def test_accept_length_at_equal_seconds_is_taken_when_the_fastest_has_ended() -> None:
    curves = {
        "ours": [(0, 0.0, 1.0), (100, 5.0, 1.5), (200, 10.0, 2.0)],
        "torchspec": [(0, 0.0, 1.0), (100, 8.0, 1.4), (200, 16.0, 1.8)],
    }

    assert at_seconds(curves["torchspec"], 10.0) == pytest.approx(1.5)
    assert at_seconds(curves["ours"], 10.1) is None
    assert lengths(curves).splitlines() == [
        "| trainer | before | at 200 tokens | at 10 s | seconds in all |",
        "|---|---|---|---|---|",
        "| ours | 1.00 | 2.00 | 2.00 | 10 |",
        "| torchspec | 1.00 | 1.80 | 1.50 | 16 |",
    ]


def test_a_checkout_is_named_with_its_peer(tmp_path: Path) -> None:
    assert source(f"torchspec={tmp_path}") == ("torchspec", tmp_path)
    for wrong in (f"torch={tmp_path}", "torchspec=/nowhere", "torchspec"):
        with pytest.raises(argparse.ArgumentTypeError, match="NAME=FOLDER"):
            source(wrong)
    assert variables("torchspec", {"torchspec": tmp_path})["PYTHONPATH"].startswith(f"{tmp_path}:")
    assert project("torchspec-flex") == "torchspec"


def test_a_peer_is_there_when_all_of_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installer = tmp_path / "uv"
    installer.write_text('#!/bin/sh\nwhile [ "$1" != --target ]; do shift; done\nmkdir "$2"; echo "$@"; exit $FAILS\n')
    installer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    folder = tmp_path / "peer"

    monkeypatch.setenv("FAILS", "3")
    with pytest.raises(subprocess.CalledProcessError):
        install("speculators", folder)
    assert not folder.exists()
    monkeypatch.setenv("FAILS", "0")
    install("speculators", folder)
    assert folder.is_dir()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("read line; echo noise; echo '{\"got\": 1}'", {"got": 1}),
        ("echo broken >&2; exit 1", {"error": "broken"}),
        ("read line; sleep 60", {"error": "not done in its time"}),
    ],
)
def test_a_trainer_answers_or_the_reason_is_given(script: str, expected: dict[str, object], tmp_path: Path) -> None:
    peer = Peer.start(["/bin/sh", "-c", script], {"PATH": "/usr/bin:/bin"}, tmp_path / "log")
    try:
        peer.order(case=1)
        assert peer.answer(time.monotonic() + (0.3 if "sleep" in script else 10)) == expected
    finally:
        peer.stop()
