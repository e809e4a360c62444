"""The check of words finds old ones in prose and in names, and leaves their neighbours alone."""

import pytest
import vocabulary


@pytest.mark.parametrize(
    "text", ["a look at it", "def test_it_is_told():", "a_world", "made anew", "by hand", "it goes on"]
)
def test_an_old_word_is_found_in_prose_and_in_a_name(text):
    assert [line for line, _, _ in vocabulary.findings(f"\n{text}\n")] == [2]


@pytest.mark.parametrize("text", ["outlook", "it goes on trial", "the storage", "handle", "intellect", "secondary"])
def test_other_words_are_not(text):
    assert not vocabulary.findings(text)


def test_no_old_word_is_left():
    assert vocabulary.main() == 0
