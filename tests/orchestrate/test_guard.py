"""Nothing that a guard has started outlives its command, its caller, or itself."""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.orchestrate import guard, guarded
from pipeline.orchestrate.guarded import Guarded
from tests.orchestrate.conftest import alive, gone, until

ENDLESS = "sleep 1000 & echo $! $$; wait"
Start = Callable[..., tuple[Guarded, list[int], Callable[[], int]]]


def run(*command: str, grace_seconds: float = 10.0) -> tuple[int, list[str]]:
    lines: list[str] = []
    started = Guarded(command, cwd=Path.cwd(), environment=os.environ, grace_seconds=grace_seconds)
    return started.wait(lines.append), lines


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a shell script that tells its process ids in one line; gives the guard, the ids, and how to wait."""
    all_pids: list[int] = []

    def starting(
        script: str, grace_seconds: float = 10.0, keep_open: tuple[int, ...] = ()
    ) -> tuple[Guarded, list[int], Callable[[], int]]:
        pids: list[int] = []
        status: list[int] = []
        told = threading.Event()

        def hear(line: str) -> None:
            pids.extend(map(int, line.split()))
            told.set()

        started = Guarded(
            ["bash", "-c", script],
            cwd=Path.cwd(),
            environment=os.environ,
            grace_seconds=grace_seconds,
            keep_open=keep_open,
        )
        waiter = threading.Thread(target=lambda: status.append(started.wait(hear)), daemon=True)
        waiter.start()
        assert told.wait(30)
        all_pids.extend(pids)

        def wait() -> int:
            waiter.join(30)
            assert status, "wait() does not return"
            return status[0]

        return started, pids, wait

    yield starting
    for pid in filter(alive, all_pids):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 1", 1), ("exit 75", 75), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_the_exit_status_is_that_of_the_command_in_a_shell(script: str, status: int) -> None:
    assert run("bash", "-c", script)[0] == status


def test_an_unknown_command_is_127_and_one_line() -> None:
    assert run("no-such-command") == (127, ["no-such-command: No such file or directory"])


def test_lines_of_both_streams_arrive_and_the_command_reads_nothing_of_the_callers() -> None:
    assert run("bash", "-c", "echo one; cat; echo two >&2") == (0, ["one", "two"])


@pytest.mark.parametrize("apart", ["", "setsid "])
def test_what_the_command_left_running_ends_with_it_and_holds_no_pipe(start: Start, apart: str) -> None:
    _, pids, wait = start(f"{apart}sleep 1000 & echo $!; exit 3")
    assert wait() == 3
    assert gone(pids)


@pytest.mark.parametrize("apart", ["", "exec setsid "])
def test_stop_ends_the_command_and_all_it_started(start: Start, apart: str) -> None:
    started, pids, wait = start(f"{apart}bash -c '{ENDLESS}'")
    started.stop()
    assert wait() == 143
    assert len(pids) == 2 and gone(pids)


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(start: Start) -> None:
    started, pids, wait = start(f"trap '' TERM; {ENDLESS}", grace_seconds=0.3)
    started.stop()
    assert wait() == 137
    assert gone(pids)


def test_a_process_that_needs_less_than_the_grace_to_end_may(start: Start) -> None:
    code = (
        "import os, signal; signal.signal(15, lambda *_: os._exit(5)); print(os.getpid(), flush=True); "
        "[signal.sigtimedwait((), 0.2) for _ in range(10_000)]"  # a signal just before `pause` would not end it
    )
    started, _, wait = start(f"exec {sys.executable} -S -c '{code}'")
    started.stop()
    assert wait() == 5


TOLD = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print(os.getppid(), os.getpid(), flush=True)
teller = signal.sigwaitinfo([signal.SIGTERM]).si_pid
open(sys.argv[1], "w").write(str(teller))
"""


def test_what_another_guard_runs_is_told_to_end_by_that_guard(start: Start, tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from pipeline.orchestrate.guarded import Guarded\n"
        f"inner = Guarded([sys.executable, '-S', '-c', {TOLD!r}, 'teller'], cwd=Path({str(tmp_path)!r}), "
        "environment=os.environ)\n"
        "inner.wait(lambda line: print(line, flush=True))"
    )
    started, pids, wait = start(f"exec {sys.executable} -c {shlex.quote(code)}")
    started.stop()
    assert wait() == 143
    assert int((tmp_path / "teller").read_text()) == pids[0]
    assert gone(pids)


def test_a_killed_guard_leaves_nothing_alive(start: Start) -> None:
    started, pids, wait = start(ENDLESS)
    os.kill(started.pid, signal.SIGKILL)
    assert wait() == 137
    until(lambda: gone(pids))


def test_standard_input_that_closes_ends_all() -> None:
    command = [sys.executable, "-I", "-S", guard.__file__, "10", "bash", "-c", ENDLESS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None and process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2 and all(map(alive, pids))
        process.stdin.close()
        assert process.wait(30) == 143
    assert gone(pids)


def test_a_caller_that_is_killed_leaves_nothing_alive() -> None:
    code = (
        "import os; from pathlib import Path; from pipeline.orchestrate.guarded import Guarded\n"
        f"started = Guarded(['bash', '-c', {ENDLESS!r}], cwd=Path.cwd(), environment=os.environ)\n"
        "started.wait(lambda line: print(started.pid, line, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        pids = [int(word) for word in caller.stdout.readline().split()]
        assert len(pids) == 3 and all(map(alive, pids))
        caller.kill()
    until(lambda: gone(pids))


def test_stop_after_the_end_is_harmless(start: Start) -> None:
    started, _, wait = start("echo $$")
    assert wait() == 0
    started.stop()
    assert wait() == 0


def test_a_listener_that_fails_ends_the_command() -> None:
    pids: list[int] = []

    def fail(line: str) -> None:
        pids.extend(map(int, line.split()))
        raise RuntimeError("no more")

    started = Guarded(["bash", "-c", ENDLESS], cwd=Path.cwd(), environment=os.environ)
    with pytest.raises(RuntimeError, match="no more"):
        started.wait(fail)
    assert len(pids) == 2 and gone(pids)


def test_a_lock_that_the_guard_inherits_is_held_until_the_command_is_gone(start: Start, tmp_path: Path) -> None:
    own = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(own, fcntl.LOCK_EX)
    started, _, wait = start(ENDLESS, keep_open=(own,))
    os.close(own)
    other = os.open(tmp_path / "lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    started.stop()
    wait()
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_stop_at_the_moment_a_guard_dies_does_not_keep_its_group_from_being_swept(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, real = threading.Event(), os.waitid

    def late(*arguments: int) -> object:
        stopped.wait(30)
        return real(*arguments)

    monkeypatch.setattr(guarded.os, "waitid", late)
    started, pids, wait = start(f"trap '' TERM; {ENDLESS}")
    os.kill(started.pid, signal.SIGKILL)
    until(lambda: not alive(started.pid))
    started.stop()
    stopped.set()
    assert wait() == 137
    until(lambda: gone(pids))


def test_a_process_that_appears_while_the_others_are_killed_is_killed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "1000"]) as first, subprocess.Popen(["sleep", "1000"]) as second:
        # The second is not on the list until the first is gone, as if the first had started it last of all.
        monkeypatch.setattr(
            guard,
            "_others",
            lambda: {p.pid: True for p in ((second,) if first.poll() else (first,)) if p.poll() is None},
        )
        ending = threading.Thread(target=guard._end_the_others, args=(0.0,), daemon=True)
        ending.start()
        ending.join(20)
        hangs = ending.is_alive()
        first.kill()
        second.kill()
    assert not hangs
