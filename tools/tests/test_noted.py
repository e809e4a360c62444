"""A long run of verdicts can be made in pieces: none is lost, none is run twice, and a wrong one stays wrong."""

import sys
from pathlib import Path

# Last of all: a benchmark there has the name of a package.
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from soak.noted import Noted, Notes, Piece

KINDS = ("damaged", "identical", "better")


def verdict(kind, *, right=True, seconds=120.0):
    return Noted(kind, "rows" if kind == "damaged" else "", [{"verdict": "Rejected", "requests": 15}], seconds, right)


def test_a_run_continues_with_what_the_file_lacks(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    done = []
    for _ in range(20):  # a process for each verdict, the worst that can be
        notes = Notes(path)
        kind = notes.following(KINDS, 3)
        if kind is None:
            break
        done.append(kind)
        notes.add(verdict(kind))
    assert done == list(KINDS) * 3
    assert Notes(path).following(KINDS, 4) == "damaged"
    assert Notes(path).following(("better",), 4) == "better"
    assert Notes(path).following(("better",), 3) is None


def test_a_wrong_verdict_of_an_earlier_piece_is_in_the_summary_of_the_last(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    first = Notes(path)
    first.add(verdict("damaged", right=False, seconds=480.0))
    first.add(Piece({"operator": 3, "engine": 1}, 100, {"ConnectError": 4}, children=True))
    last = Notes(path)
    last.add(verdict("damaged", seconds=120.0))
    last.add(Piece({"operator": 2}, 50, {}, children=True))
    summary = last.summary()
    found = summary["kinds"]["damaged"]
    assert (found["right"], found["of"], found["median_seconds"], found["longest_seconds"]) == (1, 2, 300.0, 480.0)
    assert [one["seconds"] for one in summary["wrong"]] == [480.0]
    assert (summary["kills"], summary["requests_answered"]) == ({"operator": 5, "engine": 1}, 150)
    assert summary["failed_by"] == {"ConnectError": 4}


def test_without_a_file_nothing_is_kept():
    notes = Notes(None)
    notes.add(verdict("better"))
    assert (notes.count("better"), Notes(None).count("better")) == (1, 0)
