import contextlib
import io

import pytest
from workshop.cache import Durations, digest
from workshop.progress import Progress
from workshop.waiting import NotInTimeError, wait


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def progress(tmp_path, clock):
    return Progress(io.StringIO(), Durations(tmp_path / "durations.json"), clock)


def ticks(progress, clock, seconds):
    for _ in range(seconds):
        clock.now += 1
        progress.tick()


def test_a_long_step_is_never_silent_for_more_than_fifteen_seconds(progress, clock):
    with progress.step("components", 480):
        ticks(progress, clock, 50)
    assert progress.out.getvalue().splitlines() == [
        "== components: started, about 480 s",
        "   components: 17 s of about 480 s",
        "   components: 32 s of about 480 s",
        "   components: 47 s of about 480 s",
        "== components: done in 50 s",
    ]


def test_output_of_a_step_counts_as_a_sign_of_life(progress, clock):
    with progress.step("tests", 60, shown=True) as step:
        ticks(progress, clock, 10)
        progress.passed(step, b"..")
        ticks(progress, clock, 14)
        assert progress.out.getvalue().splitlines()[1:] == [".."]
        ticks(progress, clock, 1)
        assert progress.out.getvalue().splitlines()[1:] == ["..", "   tests: 25 s of about 60 s"]


def test_what_is_in_the_cache_needs_no_line_and_changes_no_estimate(progress, clock):
    with progress.step("components", 480):
        ticks(progress, clock, 1)
    assert progress.out.getvalue() == ""
    assert progress.durations.expected("components", 480) == 480
    assert [row.name for row in progress.rows] == ["components"]


def test_the_estimate_is_what_the_step_took_the_last_time(progress, clock):
    with progress.step("components", 480):
        ticks(progress, clock, 30)
    with progress.step("components", 480):
        ticks(progress, clock, 3)
    assert "components: started, about 30 s" in progress.out.getvalue()


def test_a_step_that_failed_is_reported_and_leaves_no_estimate(progress, clock):
    with contextlib.suppress(ValueError), progress.step("images", 300):
        ticks(progress, clock, 5)
        int("no")
    assert "== images: failed in 5 s" in progress.out.getvalue()
    assert progress.durations.expected("images", 300) == 300
    assert progress.rows[0].result == "failed"


def test_a_terminal_shows_bars_of_all_that_runs(tmp_path, clock):
    progress = Progress(Terminal(), Durations(tmp_path / "durations.json"), clock)
    with progress.step("components", 100), progress.step("images", 50):
        ticks(progress, clock, 25)
    assert "[###.........] components 25/100 s  [######......] images 25/50 s" in progress.out.getvalue()


def test_the_table_has_each_stage_with_its_result(progress, clock):
    with progress.step("lint", 5):
        clock.now += 3
    with progress.step("engine", 5, shown=True) as step:
        clock.now += 60
        step.result = "22 passed in 60 s"
    stages = [line.split(maxsplit=3) for line in progress.table().splitlines()]
    assert stages == [
        ["stage", "from", "s", "took s  result"],
        ["lint", "0", "3", "done"],
        ["engine", "3", "60", "22 passed in 60 s"],
        ["all", "0", "63"],
    ]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": "b"}'])
def test_a_damaged_file_of_durations_is_as_none(tmp_path, content):
    path = tmp_path / "durations.json"
    path.write_text(content)
    durations = Durations(path)
    assert durations.expected("a", 7) == 7
    durations.record("a", 3)
    assert durations.expected("a", 7) == 3


def test_a_digest_changes_with_each_file_and_word(tmp_path):
    path = tmp_path / "lock"
    path.write_text("one")
    first, other = digest([path]), digest([path], "root")
    path.write_text("two")
    assert len({first, other, digest([path])}) == 3


def test_a_wait_ends_with_its_condition_or_its_time():
    answers = iter([False, False, True])
    wait("it", lambda: next(answers), 5, every=0)
    with pytest.raises(NotInTimeError, match="the node: not within 0 s"):
        wait("the node", lambda: False, 0, every=0)


def test_a_wait_gives_what_made_it_true_and_says_with_its_error_how_things_are():
    answers = iter([None, False, "here"])
    assert wait("it", lambda: next(answers), 5, every=lambda waited: 0 * waited) == "here"
    with pytest.raises(NotInTimeError, match="the node: not within 0 s\nits log"):
        wait("the node", lambda: None, 0, every=0, state=lambda: "its log")
