import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from workshop import interrupt
from workshop.cache import Durations
from workshop.process import Processes, StepError, StoppedError, descendants, end, exists
from workshop.progress import Progress
from workshop.tasks import Task, Tasks
from workshop.waiting import wait

TOOLS = Path(__file__).parents[1]


@pytest.fixture
def progress(tmp_path):
    return Progress(io.StringIO(), Durations(tmp_path / "durations.json"))


@pytest.fixture
def processes(progress, tmp_path):
    return Processes(progress, tmp_path / "log")


def test_chatter_goes_to_a_log_and_the_answer_comes_back(processes, progress, tmp_path):
    with progress.step("go", 1) as step:
        answer = processes.logged(step, "sh", "-c", "echo downloading >&2; echo $WHERE", WHERE="here")
    assert answer == "here\n"
    assert progress.out.getvalue() == ""
    assert "downloading" in (tmp_path / "log" / "go.log").read_text()


def test_a_failure_names_the_log_and_shows_its_end(processes, progress, tmp_path):
    with pytest.raises(StepError) as failed, progress.step("go", 1) as step:
        processes.logged(step, "sh", "-c", "seq 100 >&2; exit 3")
    message = str(failed.value)
    assert f"go failed with status 3; its log is {tmp_path / 'log' / 'go.log'}" in message
    assert message.endswith("\n99\n100")
    assert "\n70\n" not in message


def test_the_closing_line_of_pytest_is_the_result(processes, progress):
    with progress.step("tests", 1, shown=True) as step:
        closing = r"\033[32m==== 22 passed in 1469.20s (0:24:29) ====\033[0m\n"
        processes.shown(step, "sh", "-c", f"echo ...; printf '{closing}'")
    assert step.result == "22 passed in 1469.20s (0:24:29)"
    assert "==== 22 passed in 1469.20s (0:24:29) ====\x1b[0m\n" in progress.out.getvalue()


def test_what_runs_beside_another_step_gives_all_its_output_at_its_end(processes, progress, tmp_path):
    begun, go = tmp_path / "begun", tmp_path / "go"
    script = f"echo one; touch {begun}; until [ -e {go} ]; do sleep 0.05; done; echo two"

    def beside(step):
        processes.shown(step, "sh", "-c", script, at_end=True)

    tasks = Tasks.start([Task("beside", 1, beside)], progress)
    wait("it has begun", begun.exists, 10)
    assert "one" not in progress.out.getvalue()
    go.touch()
    tasks.join()
    assert "one\ntwo\n" in progress.out.getvalue()


def test_stopping_ends_processes_with_their_descendants_and_starts_no_more(processes, progress, tmp_path):
    pid = tmp_path / "pid"
    failures = []

    def work():
        try:
            with progress.step("server", 1) as step:
                # The shell's own child ignores what asks it to end.
                script = f"trap '' INT TERM; sleep 600 & echo $! > {pid}.new; mv {pid}.new {pid}; wait"
                processes.logged(step, "sh", "-c", script)
        except StepError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait("the process", pid.exists, 10)
    child = int(pid.read_text())
    assert child in descendants(os.getpid())
    began = time.monotonic()
    processes.grace = 0.2
    processes.stop()
    thread.join(30)
    assert time.monotonic() - began < 10
    assert not exists(child)
    assert len(failures) == 1
    with pytest.raises(StoppedError), progress.step("other", 1) as step:
        processes.logged(step, "true")


def test_a_process_that_ended_and_was_not_waited_for_does_not_exist():
    child = subprocess.Popen(["true"])
    wait("the end", lambda: not exists(child.pid), 10)
    assert Path(f"/proc/{child.pid}").exists()
    assert child.wait() == 0


def test_end_returns_what_still_runs():
    child = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], stdout=subprocess.PIPE
    )
    child.stdout.readline()
    assert end([child.pid], signal.SIGTERM, 0.3) == [child.pid]
    assert end([child.pid], signal.SIGKILL, 5) == []
    child.wait()
    child.stdout.close()


def test_a_task_starts_when_what_it_needs_is_done_and_others_run_meanwhile(progress):
    order, both = [], threading.Barrier(2, timeout=10)

    def meets(name):
        def run(_step):
            both.wait()
            order.append(name)

        return run

    tasks = Tasks.start(
        [
            Task("environment", 1, meets("first")),
            Task("components", 1, meets("first")),
            Task("images", 1, lambda _step: order.append("images"), ("environment", "components")),
        ],
        progress,
    )
    tasks.join()
    tasks.close()
    assert order == ["first", "first", "images"]


def test_a_failure_is_raised_by_whoever_waits_and_stops_what_needs_it(progress):
    def fails(_step):
        raise StepError("no compiler")

    started, held = [], threading.Event()
    tasks = Tasks.start(
        [
            Task("environment", 1, lambda _step: held.wait(10)),
            Task("components", 1, fails),
            Task("prometheus", 1, started.append, ("components",)),
        ],
        progress,
    )
    with pytest.raises(StepError, match="no compiler"):
        tasks.join("environment")
    held.set()
    tasks.close()
    assert started == []


def test_a_signal_waits_for_the_end_of_what_it_must_not_tear_apart():
    before = {number: signal.getsignal(number) for number in interrupt.SIGNALS}
    seen = []
    try:
        interrupt.raised()
        with pytest.raises(interrupt.Interrupted, match="SIGTERM"):  # noqa: PT012, SIM117 (deferred() raises)
            with interrupt.deferred():
                os.kill(os.getpid(), signal.SIGTERM)
                seen.append("spawned and recorded")
        # A second one is ignored.
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert seen == ["spawned and recorded"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_nothing_and_says_how_to_resume(tmp_path, number):
    """A step whose process has a session of its own, as a node's have, and a thread that builds meanwhile."""
    body = f"""
import sys
from pathlib import Path
from workshop.session import Session
from workshop.tasks import Task, Tasks

def body(session):
    def build(step):
        session.processes.logged(step, "sh", "-c", "sleep 601")
    tasks = Tasks.start([Task("build", 1, build)], session.progress)
    session.closing.append(tasks.close)
    session.cleanups.append(lambda: Path({str(tmp_path / "cleaned")!r}).touch())
    with session.progress.step("node", 1, shown=True) as step:
        session.processes.shown(step, "sh", "-c", "setsid sh -c 'sleep 602 & echo up $! $$; wait' & wait")

sys.exit(Session("make quickstart").run(body))
"""
    environment = os.environ | {"PYTHONPATH": str(TOOLS), "AURORA_CACHE": str(tmp_path / "cache")}
    command = subprocess.Popen(
        [sys.executable, "-c", body], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while not (line := command.stdout.readline()).startswith("up"):
        assert line
    started = [int(pid) for pid in line.split()[1:]]
    assert all(map(exists, started))
    command.send_signal(number)
    out, _ = command.communicate(timeout=60)
    assert command.returncode == 128 + number
    assert not any(map(exists, started))
    assert (tmp_path / "cleaned").exists()
    assert f"stopped by {number.name}; nothing is left running. `make quickstart` again resumes" in out
    assert "stage" in out
