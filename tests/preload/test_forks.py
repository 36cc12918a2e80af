"""A stage in a fork of a Python that has imported its libraries runs as in a Python of its own."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipeline.orchestrate.dvc_stage import PASSING_STATUS
from pipeline.preload import serving
from pipeline.preload.client import COLD, ask, place_of
from pipeline.preload.stage_client import ADDRESS
from tests.conftest import ROOT
from tests.faults.processes import has_ended, until
from tests.preload.conftest import CODE, Preloaded

WAIT = "while True: signal.sigtimedwait((), 0.2)"  # a signal just before `pause` would not end it


def test_it_has_the_arguments_the_environment_the_folder_the_streams_and_the_status(preloaded: Preloaded) -> None:
    code = """
import __main__
print(os.getcwd(), sys.path[0], sys.argv[1:], __name__, __main__.__spec__.name, os.environ["DVC_STAGE"])
print("FRCNN_PRELOADED" in os.environ, "library" in sys.modules, open("/proc/self/cmdline").read().split("\\0")[1:5])
print("err", file=sys.stderr)
sys.exit(7)
"""
    folder = str(preloaded.folder)
    status, out, err = preloaded.run(code, "--out", "a b", DVC_STAGE="one")
    assert (status, err) == (7, "err\n")
    assert out.splitlines() == [
        f"{folder} {folder} ['--out', 'a b'] __main__ stages.probe one",
        "False True ['-m', 'stages.probe', '--out', 'a b']",
    ]
    assert preloaded.run("pass") == (0, "", "")
    assert preloaded.run("os.kill(os.getpid(), signal.SIGKILL)")[0] == -signal.SIGKILL
    assert "ZeroDivisionError" in preloaded.run("1 / 0")[2]


def test_it_runs_the_code_as_it_is_now(preloaded: Preloaded) -> None:
    module = preloaded.folder / "stages/other.py"
    code = "from stages.other import A; print(A, os.getppid())"
    for value in ("1", "23", "4"):
        module.write_text(f"A = {value}\n")
        assert preloaded.run(code)[1] == f"{value} {preloaded.process.pid}\n"


@pytest.mark.parametrize(
    "variables",
    [
        {"FRCNN_PROCESSES": "2", "DVC_ROOT": ".", "PS1": "$", "PREFECT_HOME": "x", "CUDA_VISIBLE_DEVICES": "1"},
        pytest.param({"OMP_NUM_THREADS": "3"}, id="read by a library"),
        pytest.param({"UNKNOWN": ""}, id="perhaps read by one"),
    ],
)
def test_it_has_a_python_of_its_own_where_a_library_could_read_another_environment(
    preloaded: Preloaded, variables: dict[str, str]
) -> None:
    assert preloaded.is_forked(**variables) is ("FRCNN_PROCESSES" in variables)


@pytest.mark.parametrize("what", ["umask", "niceness", "cores", "limit"])
def test_it_has_a_python_of_its_own_where_it_has_other_limits(preloaded: Preloaded, what: str) -> None:
    def change() -> None:
        if what == "umask":
            os.umask(0o77)
        elif what == "niceness":
            os.nice(1)
        elif what == "cores":
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        else:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def parent(prepare: object) -> int:
        result = subprocess.run(
            [sys.executable, "-m", "stages.probe"],
            cwd=preloaded.folder,
            env={**preloaded.environment, CODE: "print(os.getppid())"},
            preexec_fn=prepare,  # type: ignore[arg-type]
            stdout=subprocess.PIPE,
            check=True,
        )
        return int(result.stdout)

    if what == "cores" and len(os.sched_getaffinity(0)) == 1:
        pytest.skip("one core")
    if what == "limit" and resource.getrlimit(resource.RLIMIT_CORE) == (0, 0):
        pytest.skip("no core files are allowed in any case")
    assert parent(None) == preloaded.process.pid
    assert parent(change) == os.getpid()


@pytest.mark.parametrize("change", ["edited", "another installed"])
def test_it_has_a_python_of_its_own_where_a_library_has_changed_and_the_other_ends(
    preloaded: Preloaded, change: str
) -> None:
    assert preloaded.is_forked()
    if change == "edited":
        preloaded.library.write_text("A = 23\n")
    else:
        preloaded.library.with_name("other.py").touch()
    assert not preloaded.is_forked()
    assert preloaded.process.wait(timeout=120) == 0
    assert not preloaded.is_forked()


def test_it_has_a_python_of_its_own_where_an_option_of_python_is_given(preloaded: Preloaded) -> None:
    command = [sys.executable, "-X", "dev", "-m", "stages.probe"]
    environment = {**preloaded.environment, CODE: "print(sys.flags.dev_mode)"}
    result = subprocess.run(command, cwd=preloaded.folder, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == "True\n"


@pytest.mark.parametrize("address", ["@frcnn-nobody", "/nowhere/socket", "x" * 200])
def test_it_has_a_python_of_its_own_where_nobody_listens(preloaded: Preloaded, address: str) -> None:
    assert not preloaded.is_forked(**{ADDRESS: address})


def test_several_run_side_by_side(preloaded: Preloaded) -> None:
    meeting = preloaded.folder / "meeting"
    os.mkfifo(meeting)
    reads = preloaded.start(f"print(open({str(meeting)!r}).read())")
    writes = preloaded.start(f"open({str(meeting)!r}, 'w').write('met')")
    assert reads.communicate(timeout=120) == ("met\n", "")
    assert writes.communicate(timeout=120) == ("", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_it(preloaded: Preloaded, number: signal.Signals) -> None:
    process, _ = preloaded.started(
        f"signal.signal({number:d}, lambda *_: sys.exit(5))\nprint('up', flush=True)\n{WAIT}"
    )
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == 5


def test_it_is_paused_with_who_asked_and_resumes_with_it(preloaded: Preloaded) -> None:
    process, stage = preloaded.started(f"pid = os.fork()\nif pid: print(pid, flush=True)\n{WAIT}")
    assert process.stdout is not None
    runs = (stage, psutil.Process(int(process.stdout.readline())), psutil.Process(process.pid))
    process.send_signal(signal.SIGTSTP)
    until(lambda: all(run.status() == psutil.STATUS_STOPPED for run in runs), "one is not paused")
    process.send_signal(signal.SIGCONT)
    until(lambda: not any(run.status() == psutil.STATUS_STOPPED for run in runs), "one does not resume")
    process.kill()
    until(lambda: all(has_ended(run) for run in runs[:2]), "one is still there")
    process.communicate()


def test_it_ends_at_once_where_who_asked_is_killed(preloaded: Preloaded) -> None:
    process, stage = preloaded.started(f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{WAIT}")
    process.kill()
    process.communicate(timeout=120)
    until(lambda: has_ended(stage), "the stage is still there")
    assert preloaded.is_forked()


def test_one_line_says_that_the_other_was_killed(preloaded: Preloaded) -> None:
    process = preloaded.start(f"print(os.getpid(), flush=True)\n{WAIT}", "--out", "data/one")
    assert process.stdout is not None
    stage = psutil.Process(int(process.stdout.readline()))
    preloaded.process.kill()
    preloaded.process.wait()
    files = Path(f"/proc/{process.pid}/fd")
    until(
        lambda: any("pidfd" in os.readlink(file) for file in files.iterdir()), "it does not wait for the stage to save"
    )
    stage.kill()  # which a stage notices itself, as it was its parent
    _, err = process.communicate(timeout=120)
    assert process.returncode == PASSING_STATUS
    assert err.startswith("one: error: the process that stages are forked from was killed") and err.count("\n") == 1


def test_it_ends_with_what_started_it(preloaded: Preloaded, tmp_path: Path) -> None:
    code = f"""
from pipeline.runtime.stopping import Stopped, end_with_parent, handle_signals
handle_signals(), end_with_parent()
open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()) + "\\n")
try:
    {WAIT}
except Stopped as stopped:
    open({str(tmp_path / "stopped")!r}, "w").write(str(stopped))
"""
    dvc = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'stages.probe'])"
    environment = {**preloaded.environment, CODE: code, "DVC_ROOT": "."}
    parent = subprocess.Popen([sys.executable, "-c", dvc], cwd=preloaded.folder, env=environment)
    pid = until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), "it does not start")
    stage = psutil.Process(int(pid))
    assert stage.ppid() == preloaded.process.pid
    parent.kill()
    parent.wait()
    until(lambda: has_ended(stage), "the stage goes on")
    assert (tmp_path / "stopped").read_text() == "stopped by SIGTERM"


def test_it_saves_its_state_where_the_other_is_to_end(preloaded: Preloaded) -> None:
    code = f"signal.signal(signal.SIGUSR1, lambda *_: sys.exit(5)); print('up', flush=True)\n{WAIT}"
    process, stage = preloaded.started(code)
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    preloaded.process.terminate()
    until(lambda: not preloaded.is_forked(), "it accepts more")
    assert preloaded.process.poll() is None
    stage.send_signal(signal.SIGUSR1)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (5, "")
    assert preloaded.process.wait(timeout=120) == 0


@pytest.mark.parametrize("forks", [True, False])
def test_a_signal_before_the_answer_is_not_lost(preloaded: Preloaded, forks: bool) -> None:
    preloaded.process.send_signal(signal.SIGSTOP)
    process = preloaded.start(WAIT, **({} if forks else {"OTHER": "1"}))
    line = Path(f"/proc/{process.pid}/wchan")
    asks = psutil.Process(process.pid)
    until(lambda: any(one.family == socket.AF_UNIX for one in asks.net_connections("unix")), "it does not ask")
    until(lambda: "poll" in line.read_text(), "it does not wait for the answer")
    process.terminate()
    preloaded.process.send_signal(signal.SIGCONT)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize("text", [b"garbage\n", b"{}\n", b'{"environment": {}, "folder": "."}\n', b"[]\n", b"cut off"])
def test_what_it_does_not_understand_ends_nothing(preloaded: Preloaded, text: bytes) -> None:
    process, stage = preloaded.started(WAIT)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place_of(preloaded.environment[ADDRESS]))
        socket.send_fds(connection, [b"\n"], [0, 1, 2])
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(64) in (b"", COLD.encode())
    assert preloaded.is_forked()
    stage.kill()
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL


def test_a_pause_before_the_answer_is_one(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    code = "import sys; from pipeline.preload.client import ask; print(ask(sys.argv[1], {}))"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        client = subprocess.Popen([sys.executable, "-c", code, path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        connection, _ = listener.accept()
        with connection:
            process = psutil.Process(client.pid)
            until(lambda: "poll" in Path(f"/proc/{client.pid}/wchan").read_text(), "it does not wait for the answer")
            client.send_signal(signal.SIGTSTP)
            until(lambda: process.status() == psutil.STATUS_STOPPED, "it is not paused")
            client.send_signal(signal.SIGCONT)
            connection.sendall(COLD.encode())
        assert client.communicate(timeout=120)[0] == f"{COLD}\n"


def test_nothing_is_sent_to_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        monkeypatch.setattr(os, "geteuid", lambda: -1)
        assert ask(path, {}) == COLD
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(64) == b""


def test_a_python_of_another_name_is_the_same(preloaded: Preloaded) -> None:
    python = Path(sys.executable).with_name("python3")
    environment = {**preloaded.environment, CODE: "print(os.getppid())"}
    command = [str(python), "-m", "stages.probe"]
    result = subprocess.run(command, cwd=preloaded.folder, env=environment, stdout=subprocess.PIPE, check=True)
    assert int(result.stdout) == preloaded.process.pid


def test_names_that_are_not_utf8_arrive(preloaded: Preloaded) -> None:
    code = "open('seen', 'wb').write(os.fsencode(sys.argv[1] + os.environ['DVC_NAME'] + os.getcwd()))"
    folder = Path(os.fsdecode(os.fsencode(preloaded.folder) + b"/\xfe"))
    folder.mkdir()
    shutil.copytree(preloaded.folder / "stages", folder / "stages")
    environment = {os.fsencode(name): os.fsencode(value) for name, value in preloaded.environment.items()}
    environment |= {CODE.encode(): code.encode(), b"DVC_NAME": b"\xfd"}
    command = [os.fsencode(sys.executable), b"-m", b"stages.probe", b"\xff"]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    assert (folder / "seen").read_bytes() == b"\xff\xfd" + os.fsencode(folder)


def test_closed_streams_do_not_become_others(preloaded: Preloaded) -> None:
    code = """
print("printed", flush=True), print("said", file=sys.stderr, flush=True)
open("fd", "w").write(" ".join(os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)))
"""
    command = f"exec {sys.executable} -m stages.probe 0<&- 1>&- 2>&-"
    environment = {**preloaded.environment, CODE: code}
    subprocess.run(command, shell=True, cwd=preloaded.folder, env=environment, check=True)
    assert (preloaded.folder / "fd").read_text() == "/dev/null /dev/null /dev/null"


def test_a_server_does_not_serve_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(ours, [b"\n"], [0, 1, 2])
        ours.sendall(b'{"environment": {}, "folder": "."}\n')
        monkeypatch.setattr(os, "geteuid", lambda: -1)
        assert serving._receive(theirs) is None
        monkeypatch.undo()
        request = serving._receive(theirs)
        assert request is not None
        serving._close(request.streams)
