"""The check of words finds old ones in prose and in names, and leaves their neighbours alone."""

from pathlib import Path

import pytest
import vocabulary

GLOSSARY = Path(__file__).parents[2] / "docs" / "glossary.md"


@pytest.mark.parametrize(
    "text",
    [
        "a look at it",
        "def test_it_is_told():",
        "a_world",
        "made anew",
        "by hand",
        "it goes on",
        "the whole of it",
        "def test_it_holds():",
        "what was said",
        "two places",
        "the engine's keys",
        "random keys",
    ],
)
def test_an_old_word_is_found_in_prose_and_in_a_name(text):
    assert [line for line, _, _ in vocabulary.findings(f"\n{text}\n")] == [2]


@pytest.mark.parametrize(
    "text",
    [
        "outlook",
        "it goes on trial",
        "the storage",
        "handle",
        "intellect",
        "secondary",
        "wholesale",
        "hold",
        "req.kv.holds_kv",
        "replaces",
        "keys and values",
        "the keys of a Secret",
        "the API keys of one engine",
    ],
)
def test_other_words_are_not(text):
    assert not vocabulary.findings(text)


def test_the_glossary_says_which_words_are_refused():
    """Given the last column's words, when each is checked, then all are refused but for those in italics."""
    columns = [line.split("|")[3] for line in GLOSSARY.read_text().splitlines() if line.startswith("| ")]
    words = {word.strip() for column in columns for word in column.split(",")} - {"", "not"}
    assert len(words) > 30
    refused = {word for word in words if vocabulary.findings(word)}
    assert {word for word in words if not word.startswith("*")} == refused


def test_no_old_word_is_left():
    assert vocabulary.main() == 0
