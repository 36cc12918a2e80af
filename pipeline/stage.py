"""What every stage's command line shares: arguments, parameters, one output folder, one-line errors."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from pipeline.artifacts.atomic import atomic_folder
from pipeline.artifacts.manifest import check_folder, write_manifest
from pipeline.data_folder import check_data_folder
from pipeline.errors import InputError, is_disk_full, is_out_of_memory
from pipeline.params.reading import Params, read_sections
from pipeline.params.section import Section
from pipeline.run_key import run_key
from pipeline.run_times import record_run
from pipeline.stopping import Stopped, end_with_parent, handle_signals, ignore_signals
from pipeline.yaml_files import read_yaml

_RUN_BY_DVC = "DVC_ROOT"  # a variable that DVC gives the commands of its stages
_RANKS = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")  # torchrun's and MPI's


@dataclass(frozen=True)
class Stage:
    """One run of one stage.

    `name` is the stage's name in dvc.yaml and part of every seed; `params` holds the sections that the command named;
    `out` is an empty folder which takes its place in data/ when the stage succeeds; `inputs` holds the paths given for
    the stage's options, None for an optional one not given; `scratch` is a folder from which a run that is cut short
    can resume, removed when the stage succeeds; `bad_batches` one for what a person should look at. None: nowhere.
    `kernels` takes what the processor's features chose, for the manifest.
    """

    name: str
    params: Params
    out: Path
    inputs: Mapping[str, Path | None]
    scratch: Path | None = None
    bad_batches: Path | None = None
    kernels: dict[str, str] = field(default_factory=dict, init=False)
    _checked: set[Path] = field(default_factory=set, init=False, repr=False)

    def input(self, option: str) -> Path:
        """The folder that another stage left, given for an option. When first asked for, it is checked to be as the
        stage left it."""
        path = self.linked(option)
        if path not in self._checked:
            writer = check_folder(path).stage
            if writer != path.name and path.name in _stages():
                raise InputError(
                    f"{path}: holds what {writer} wrote; rerun the stage that writes it (dvc repro {path.name})"
                )
            self._checked.add(path)
        return path

    def linked(self, option: str) -> Path:
        """The folder given for an option which a user links into data/, and which no stage writes."""
        path = self.inputs[option]
        if path is None:
            raise InputError(f"--{option.replace('_', '-')} is needed here; see --help")
        return path

    def log(self, message: str) -> None:
        """Print a line for a person."""
        print(f"{self.name}: {message}", file=sys.stderr, flush=True)


def run_stage(
    work: Callable[[Stage], None],
    *,
    about: str | None,
    sections: Mapping[str, type[Section]],
    inputs: Mapping[str, str],
    optional: Mapping[str, str] | None = None,
    resumable: bool = False,
) -> None:
    """Parse the command line, run `work`, publish its output folder, and exit.

    Args:
        work: computes the stage and writes into `Stage.out`.
        about: the stage module's docstring, shown by --help.
        sections: the blocks of params.yaml that a command may name, and their models.
        inputs, optional: option name to help text; each takes a path.
        resumable: `Stage.out` may hold what a run that was cut short left under the same key, for `ChunkedWork`.

    Exits with 1 and one line on bad input, an unreadable file, a full disk or too little memory; with 130 on Ctrl-C and
    143 on SIGTERM.
    """
    optional = optional or {}
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, text in {**inputs, **optional}.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=Path, required=option in inputs, help=text)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--stage", help="name of this stage in dvc.yaml (default: the name of the folder to write)")
    parser.add_argument(
        "--params", required=True, help="sections of params.yaml that this stage reads, comma-separated"
    )
    parser.add_argument("--params-file", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    name = arguments.stage or arguments.out.name
    notes = _notes(arguments.out)
    handle_signals()
    if _RUN_BY_DVC in os.environ:
        end_with_parent()
    params = Params({})
    try:
        _refuse_ranks(os.environ)
        if _RUN_BY_DVC in os.environ:
            check_data_folder(arguments.out.parent, _root())
        params = read_sections(arguments.params_file, sections, arguments.params.split(","))
        paths: dict[str, Path | None] = {option: getattr(arguments, option) for option in {**inputs, **optional}}
        for option, path in paths.items():
            if path is not None and not path.exists():
                raise InputError(
                    f"--{option.replace('_', '-')} {path}: no such path; run the stage that writes it first"
                )
        print(f"{_position(name)}{name}", file=sys.stderr, flush=True)
        started, began_at = time.monotonic(), time.time()
        with atomic_folder(arguments.out, run_key(name, params, paths) if resumable else None) as out:
            stage = Stage(name, params, out, paths, notes / "scratch" / name, notes / "bad-batches")
            work(stage)
            write_manifest(out, name, stage.kernels)
        shutil.rmtree(notes / "scratch" / name, ignore_errors=True)
        seconds = time.monotonic() - started
        record_run(_root(), name, began_at, seconds)
        print(f"{name}: done in {seconds:.1f} s, see {arguments.out}", file=sys.stderr, flush=True)
    except InputError as error:
        _fail(name, str(error))
    except MemoryError:
        _fail(name, f"out of memory; {_less_memory(params, name)}")
    except Exception as error:
        if is_disk_full(error):
            _fail(name, f"disk full while writing {arguments.out}; free space and run again")
        if isinstance(error, OSError):
            what = f"{error.filename or arguments.out}: {error.strerror or error}"
            _fail(name, f"{what}; check that it can be read and written")
        if not is_out_of_memory(error):
            raise
        _fail(name, f"out of memory ({' '.join(str(error).split())[:120]}); {_less_memory(params, name)}")
    except Stopped as stopped:
        ignore_signals()
        print(f"{name}: {stopped}; the next run resumes from there", file=sys.stderr, flush=True)
        _end(stopped.status)
    _end(0)


def _refuse_ranks(environment: Mapping[str, str]) -> None:
    """All ranks would write one folder: one would have it, the others end, and it would wait for them for ever."""
    for name in _RANKS:
        count = environment.get(name, "1")
        if count.isdecimal() and int(count) > 1:
            raise InputError(
                f"it was started as one of {count} ranks ({name}), and a stage is one process; start it once, without "
                f"torchrun, accelerate launch or mpirun, or unset {name}"
            )


def _end(status: int) -> NoReturn:
    # All is written, and unloading torch would take another quarter of a second.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _less_memory(params: Params, name: str) -> str:
    own = params.sections().get(name)
    smaller = "the image size (section resize)"
    return (
        f"lower {name}.images_per_iteration or {smaller}"
        if hasattr(own, "images_per_iteration")
        else f"lower {smaller}"
    )


def _notes(out: Path) -> Path:
    """Where a project keeps what is no artifact: beside DVC's own notes, or beside the output where there is no DVC."""
    return _root() / ".dvc/tmp/frcnn" if (_root() / ".dvc").is_dir() else out.parent / ".frcnn"


def _fail(name: str, message: str) -> None:
    line = re.sub(r"[ \t\r\n\f\v]+", " ", message).strip()  # other spaces may stand in the name of a file
    print(f"{name}: error: {line}", file=sys.stderr, flush=True)
    sys.exit(1)


def _position(name: str) -> str:
    names = _stages()
    return f"[{names.index(name) + 1}/{len(names)}] " if name in names else ""


def _stages() -> list[str]:
    try:
        return list(read_yaml(_root() / "dvc.yaml")["stages"])
    except (OSError, KeyError, TypeError, InputError):
        return []


def _root() -> Path:
    return Path(os.environ.get(_RUN_BY_DVC, "."))
