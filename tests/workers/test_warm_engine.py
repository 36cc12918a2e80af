"""A warm engine runs what a worker starts, as if that process ran it itself."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, get_current_settings, temporary_settings

from pipeline.orchestrate.worker import environment_for_prefect
from pipeline.preload.run_engine import ADDRESS, MODULE, copy_to
from pipeline.workers import kept, warm_engine
from pipeline.workers.serving import ENGINE
from tests.conftest import ROOT
from tests.faults.processes import until

_SERVER = """
import os, signal, socket, sys
from pathlib import Path
from pipeline.workers.warm_engine import Code, serve

root = Path(sys.argv[2])
sys.path.insert(0, str(root / "pipeline"))
code = Code(root)
import own
exec(os.environ["PREPARE"])
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    print("ready", flush=True)
    request = serve(listener, code, dict(os.environ))
if request is not None:
    request.take_place()
    exec(os.environ["RUN"])
"""


class Engine:
    """A warm engine in `folder` that executes what the variable RUN has, and where it cannot, another says `cold`.

    Args:
        prepare: code that the engine executes before it listens.
    """

    def __init__(self, folder: Path, prepare: str = "") -> None:
        self.folder = folder
        (folder / "pipeline").mkdir()
        (folder / "prefect").mkdir()
        (folder / "prefect/__init__.py").touch()
        self.module = folder / "pipeline/own.py"
        self.module.write_text("A = 1\n")
        (folder / "prefect/engine.py").write_text("print('cold')\n")
        own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self._environment = {**own, "PYTHONPATH": f"{folder}:{ROOT}", "PREFECT_API_URL": "http://here/api"}
        self._environment["PREPARE"] = prepare
        address = str(folder / "socket")
        self._environment[ADDRESS] = address
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, address, str(folder)],
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def start(self, code: str, **environment: str) -> subprocess.Popen[str]:
        """Ask for a run, as a worker does."""
        return subprocess.Popen(
            [sys.executable, "-S", "-m", "pipeline.preload.run_engine"],
            cwd=self.folder / "pipeline",
            env={**self._environment, "RUN": code, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, **environment: str) -> tuple[int, str, str]:
        """The status of a run, and its output."""
        process = self.start(code, **environment)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err


def listens(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(address) == 0


@contextmanager
def engine_in(folder: Path, prepare: str = "") -> Iterator[Engine]:
    made = Engine(folder, prepare)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with engine_in(tmp_path) as made:
        yield made


def test_a_run_has_the_environment_the_folder_the_streams_and_the_status_of_who_asks(engine: Engine) -> None:
    code = "x = os.environ['X']; print(os.getppid(), os.getcwd(), x); print('err', file=sys.stderr); sys.exit(int(x))"
    expected = f"{engine.process.pid} {engine.folder / 'pipeline'}"
    assert engine.run(code, X="7") == (7, f"{expected} 7\n", "err\n")
    assert engine.run(code, X="0") == (0, f"{expected} 0\n", "err\n")
    assert engine.run("os.kill(os.getpid(), signal.SIGKILL)")[0] == -signal.SIGKILL


def test_a_signal_reaches_the_run(engine: Engine) -> None:
    # A signal just before `pause` would not end it.
    wait = "while True: signal.sigtimedwait((), 0.2)"
    code = f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); print('up', flush=True)\n{wait}"
    process = engine.start(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 5


def test_a_run_ends_with_the_process_that_asked_and_the_next_is_served(engine: Engine) -> None:
    process = engine.start("print(os.getpid(), flush=True); signal.pause()")
    assert process.stdout is not None
    run = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.communicate(timeout=120)
    until(lambda: not run.is_running(), "the run is still there")
    assert engine.run("print('next')") == (0, "next\n", "")


def test_a_run_is_left_to_a_new_process_where_the_code_has_changed(engine: Engine) -> None:
    engine.module.write_text("A = 23\n")
    assert engine.run("print('warm')") == (0, "cold\n", "")
    assert engine.process.wait(timeout=120) == 0


def test_an_engine_ends_after_a_run_that_has_changed_the_code(engine: Engine) -> None:
    assert engine.run(f"open({str(engine.module)!r}, 'w').write('A = 23'); print('warm')") == (0, "warm\n", "")
    assert engine.process.wait(timeout=120) == 0
    assert engine.run("print('warm')") == (0, "cold\n", "")


def test_a_run_is_left_to_a_new_process_where_prefects_settings_are_others(engine: Engine) -> None:
    assert engine.run("print('warm')", PREFECT_LOGGING_LEVEL="DEBUG") == (0, "cold\n", "")
    assert engine.run("print('warm')", PREFECT__FLOW_RUN_ID="1", X="1") == (0, "warm\n", "")


def test_a_run_ends_where_the_engine_is_killed(engine: Engine) -> None:
    process = engine.start("print('up', flush=True); signal.pause()")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    run = psutil.Process(engine.process.pid).children()[0]
    engine.process.kill()
    run.kill()  # as the guard of the engine does
    assert process.wait(timeout=120) == 1
    process.communicate()


def test_a_run_is_left_to_a_new_process_where_it_cannot_be_followed(tmp_path: Path) -> None:
    forbidden = "def refuse(_): raise PermissionError\nos.pidfd_open = refuse"
    with engine_in(tmp_path, forbidden) as engine:
        assert engine.run("print('warm')") == (0, "cold\n", "")
        assert engine.run("print('warm')") == (0, "cold\n", "")
        assert engine.process.poll() is None


def test_a_checkout_during_the_imports_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pipeline"
    package.mkdir()
    (package / "imported_first.py").write_text("A = 1\n")
    checkout = f"from pathlib import Path\nPath({str(package)!r}, 'imported_first.py').write_text('A = 23456')\n"
    changed = []

    def serve(_listener: object, code: warm_engine.Code, _settings: object) -> None:
        changed.append(code.has_changed())

    monkeypatch.syspath_prepend(package)
    monkeypatch.setattr(warm_engine, "_IMPORTED", ("imported_first", "imported_second"))
    monkeypatch.setattr(warm_engine, "Code", partial(warm_engine.Code, tmp_path))
    monkeypatch.setattr(warm_engine, "serve", serve)
    for second in ("", checkout):
        (package / "imported_second.py").write_text(second)
        for name in ("imported_first", "imported_second"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(sys, "argv", ["", str(tmp_path / "socket")])
        warm_engine.main()
    assert changed == [False, True]


def test_a_module_that_a_checkout_has_brought_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pipeline").mkdir()
    code = warm_engine.Code(tmp_path)
    assert not code.has_changed()
    (tmp_path / "pipeline/brought.py").touch()
    assert not code.has_changed()  # not imported
    monkeypatch.syspath_prepend(tmp_path / "pipeline")
    importlib.import_module("brought")
    assert code.has_changed()
    monkeypatch.delitem(sys.modules, "brought")


def test_the_command_of_a_run_does_not_need_the_clone(tmp_path: Path) -> None:
    copy_to(tmp_path / "commands")
    copy_to(tmp_path / "commands")
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect/__init__.py").touch()
    (tmp_path / "prefect/engine.py").write_text("print('cold')\n")
    result = subprocess.run(
        [sys.executable, "-S", "-m", MODULE],
        env={"PYTHONPATH": f"{tmp_path / 'commands'}:{tmp_path}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "cold\n", "")


def test_an_engine_that_cannot_start_is_not_started_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_SECONDS_BETWEEN_STARTS", 0.05)
    package = tmp_path / "pipeline/workers"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "warm_engine.py").write_text("raise SystemExit('no engine here')")
    lines: list[str] = []
    command = [sys.executable, "-m", ENGINE, str(tmp_path / "socket")]
    with kept.kept(command, tmp_path, environment_for_prefect(tmp_path), command[-1], lines.append):
        until(lambda: any("start their own Python" in line for line in lines), "it is started again")
        assert lines[:3] == ["no engine here"] * 3 and len(lines) == 4
        (package / "warm_engine.py").write_text("print('as of another commit', flush=True)")
        until(lambda: "as of another commit" in lines, "a new version is not started")


@pytest.mark.parametrize(
    ("work", "status", "quick"),
    [
        ("None", 0, True),
        ("sys.exit()", 0, True),
        ("sys.exit(7)", 7, True),
        ("sys.exit(-1)", 255, True),
        ("sys.exit('in words')", 1, False),
        ("1 / 0", 1, False),
    ],
)
def test_a_run_ends_without_taking_modules_apart_but_with_all_that_is_due(work: str, status: int, quick: bool) -> None:
    code = f"""
import sys
from pipeline.preload.serving import QuickEnd
end = QuickEnd()
import atexit, threading

class Module:
    def __del__(self):
        print("taken apart")

module = Module()
atexit.register(print, "registered")
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
end.after(lambda: {work})
"""
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert result.returncode == status
    assert result.stdout.split("\n")[:-1] == ["thread", "registered"] + ["taken apart"] * (not quick)
    assert ("in words" in result.stderr or "ZeroDivisionError" in result.stderr) is (not quick)


def test_a_run_emits_no_heartbeats_unless_they_are_wanted() -> None:
    def seconds() -> int | None:
        return get_current_settings().flows.heartbeat_frequency

    usual = seconds()
    with warm_engine.without_heartbeats():
        assert seconds() is None
    assert seconds() == usual
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 60}), warm_engine.without_heartbeats():
        assert seconds() == 60


def test_the_engine_of_a_worker_starts_has_one_thread_and_runs_prefect(tmp_path: Path) -> None:
    address = str(tmp_path / "socket")
    cold = tmp_path / "cold"
    (cold / "prefect").mkdir(parents=True)
    (cold / "prefect/__init__.py").touch()
    (cold / "prefect/engine.py").write_text("print('cold')\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": str(ROOT)}
    environment["PREFECT_SERVER_EPHEMERAL_ENABLED"] = "True"  # as Prefect's own profile has it
    with subprocess.Popen([sys.executable, "-m", "pipeline.workers.warm_engine", address], env=environment) as engine:
        try:
            until(lambda: listens(address) or engine.poll() is not None, "it does not listen")
            assert psutil.Process(engine.pid).num_threads() == 1  # so that it may fork
            # Without the id of a run Prefect's engine refuses, in one that is forked.
            result = subprocess.run(
                [sys.executable, "-S", "-m", "pipeline.preload.run_engine"],
                env={**environment, ADDRESS: address, "PYTHONPATH": f"{cold}:{ROOT}"},
                capture_output=True,
                text=True,
            )
            assert result.returncode == 1 and "Invalid flow run id" in result.stderr, result
            assert psutil.Process(engine.pid).num_threads() == 1
        finally:
            engine.kill()
