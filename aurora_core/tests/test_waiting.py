"""Every wait of the core has a deadline, and says what it waited for."""

import pytest
from aurora_core.errors import EngineError
from aurora_core.waiting import wait


def test_a_wait_ends_with_its_condition():
    answers = iter([False, None, True])
    wait("it", lambda: next(answers), 5, every=0)
    assert list(answers) == []


def test_one_that_takes_too_long_says_for_what_and_what_says_more():
    with pytest.raises(EngineError, match="a server: not within 0 s; see its log"):
        wait("a server", lambda: False, 0, every=0, hint="see its log")
    with pytest.raises(EngineError, match=r"a server: not within 0 s$"):
        wait("a server", lambda: False, 0, every=0)


def test_what_the_condition_raises_ends_it():
    with pytest.raises(ZeroDivisionError):
        wait("it", lambda: 1 // 0, 5)
