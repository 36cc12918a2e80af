"""`python -m pipeline.preload.stage_python ADDRESS`: a Python that has imported the libraries of stages, for a run.

For each stage that asks (`pipeline.preload.stage_client`), it forks a process that imports the project's code as it is
then, and runs the stage, as a Python started for it would. It leaves a stage alone that began with other environment
variables or limits than itself, or if a library has been installed or changed since. Then it ends when nothing runs any
more.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import random
import runpy
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.preload.client import place_of
from pipeline.preload.serving import QuickEnd, Request, Server
from pipeline.preload.stage_client import conditions
from pipeline.runtime.own_code import PACKAGES

LIBRARIES = (
    "torch",
    "torch.utils.data",
    "numpy.random",
    "numpy.typing",
    "cv2",
    "pyarrow.compute",
    "pyarrow.csv",
    "pyarrow.parquet",
    "pydantic.fields",
    "pydantic.json_schema",
    "pydantic.main",
    "pydantic.plugin._loader",
    "pydantic.types",
    "ruamel.yaml",
    "accelerate",
    "safetensors.torch",
    "defusedxml.ElementTree",
    "tqdm",
)
"""What stages import. None of them starts a thread of Python or asks for a GPU."""

_MOST_AT_ONCE = 256
_ROOM = " " * 4000
"""Argument that leaves room for the command of a stage, see `_show`."""


def command(address: str) -> list[str]:
    """The command that starts one, which listens at an address as of `pipeline.preload.client.place_of`."""
    return [sys.executable, "-m", __spec__.name, address, _ROOM]


def main() -> None:
    """Serve until a library has been installed or changed; in the processes that are forked, run what is asked for."""
    quick_end, begun_with = QuickEnd(), conditions()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # as `stages` does in a stage, which forks have yet to import
    installed = _versions_of(_places_of_libraries())
    gc.disable()
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that a forked process does not look at it, and shares its pages
    gc.enable()
    libraries = _versions_of(_first_files())

    def is_over() -> bool:
        return _versions_of(installed) != installed or _versions_of(libraries) != libraries

    def may_fork(request: Request) -> bool:
        return request.content["conditions"] == begun_with and not is_over()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place_of(sys.argv[1]))
        listener.listen(_MOST_AT_ONCE)
        request = Server(listener, may_fork, is_over, at_once=_MOST_AT_ONCE, groups=True).serve()
    if request is not None:
        quick_end.after(lambda: _run(request))


def _run(request: Request) -> None:
    """Run a stage as `python -m` would."""
    request.take_place()
    module, arguments = str(request.content["module"]), list(request.content["arguments"])
    _show(("python", "-m", module, *arguments))
    if sys.stdout is not None:
        sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    # What of the project this process has imported may be of an older version.
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
    sys.path_importer_cache.clear()
    _seed_anew()
    sys.path[0] = request.folder
    sys.argv = ["-m", *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _seed_anew() -> None:
    """Every draw of a stage comes from a generator of its own. One that does not must differ from run to run, as in a
    Python of its own, so that it is found."""
    random.seed()
    for name in ("torch", "numpy.random"):
        if name in sys.modules:
            sys.modules[name].seed()


def _places_of_libraries() -> Iterator[str]:
    """The folders that every installation changes."""
    return (path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages"))


def _first_files() -> Iterator[str]:
    """The first file of each library that is imported."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and "." not in name and name not in sys.stdlib_module_names and name not in PACKAGES:
            yield file


def _versions_of(paths: Iterable[str]) -> dict[str, tuple[int, int, int] | None]:
    """Files and folders as they are on the disk."""
    return {path: _version(Path(path)) for path in paths}


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _show(words: tuple[str, ...]) -> None:
    """Let `ps`, `nvidia-smi` and others show a command for this process, as far as there is room: they read it where
    the system has put the arguments."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
        begin, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5)
    except (OSError, ValueError, IndexError):
        return
    if begin < end:
        text = b"\0".join(map(os.fsencode, words))[: end - begin - 1]
        ctypes.memset(begin, 0, end - begin)
        ctypes.memmove(begin, text, len(text))


if __name__ == "__main__":
    main()
