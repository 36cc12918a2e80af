"""A warm engine runs what a worker starts, as if that process ran it itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.workers.run_engine import ADDRESS
from tests.conftest import ROOT
from tests.faults.processes import until

_SERVER = """
import os, signal, socket, sys
from pathlib import Path
from pipeline.workers.warm_engine import Code, serve, take_place

root = Path(sys.argv[2])
sys.path.insert(0, str(root / "pipeline"))
import own
code = Code(root)
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    print("ready", flush=True)
    request = serve(listener, code, dict(os.environ))
if request is not None:
    take_place(request)
    exec(os.environ["RUN"])
"""


class Engine:
    """A warm engine in `folder` that executes what the variable RUN has, and where it cannot, another says `cold`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pipeline").mkdir()
        (folder / "prefect").mkdir()
        (folder / "prefect/__init__.py").touch()
        self.module = folder / "pipeline/own.py"
        self.module.write_text("A = 1\n")
        (folder / "prefect/engine.py").write_text("print('cold')\n")
        own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self._environment = {**own, "PYTHONPATH": f"{folder}:{ROOT}", "PREFECT_API_URL": "http://here/api"}
        socket = str(folder / "socket")
        self._environment[ADDRESS] = socket
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, socket, str(folder)],
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def start(self, code: str, **environment: str) -> subprocess.Popen[str]:
        """Ask for a run, as a worker does."""
        return subprocess.Popen(
            [sys.executable, "-S", "-m", "pipeline.workers.run_engine"],
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


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


def test_a_run_has_the_environment_the_folder_the_streams_and_the_status_of_who_asks(engine: Engine) -> None:
    code = "x = os.environ['X']; print(os.getppid(), os.getcwd(), x); print('err', file=sys.stderr); sys.exit(int(x))"
    expected = f"{engine.process.pid} {engine.folder / 'pipeline'}"
    assert engine.run(code, X="7") == (7, f"{expected} 7\n", "err\n")
    assert engine.run(code, X="0") == (0, f"{expected} 0\n", "err\n")
    assert engine.run("os.kill(os.getpid(), signal.SIGKILL)")[0] == -signal.SIGKILL


def test_a_signal_reaches_the_run(engine: Engine) -> None:
    code = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); print('up', flush=True); signal.pause()"
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
    assert process.wait(timeout=120) == 1
    run.kill()  # as the guard of the engine does
    process.communicate()
