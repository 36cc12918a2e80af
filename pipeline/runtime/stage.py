"""What every stage's command line shares: arguments, parameters, one output folder, one-line errors."""

from __future__ import annotations

import argparse
import gc
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType

from pipeline.artifacts.atomic import atomic_folder
from pipeline.artifacts.manifest import check_folder, write_manifest
from pipeline.params.changes import RunningParams
from pipeline.params.reading import Params
from pipeline.params.section import Section
from pipeline.runtime.code_locks.running import RunningCode
from pipeline.runtime.errors import InputError
from pipeline.runtime.family_part import family_part, locked_part
from pipeline.runtime.no_pandas import keep_pandas_out
from pipeline.runtime.own_code import MEMO, running_code
from pipeline.runtime.run_key import run_key
from pipeline.runtime.run_times import record_run
from pipeline.runtime.share import Share
from pipeline.runtime.stage_process import StageProcess


@dataclass(frozen=True)
class Stage:
    """One run of one stage.

    `name` is the stage's name in dvc.yaml and part of every seed; `params` holds the sections that the command named;
    `out` is an empty folder that is moved into data/ when the stage succeeds; `inputs` holds the paths given for
    the stage's options, None for an optional one not given; `scratch` is a folder from which a run that is cut short
    can resume, removed when the stage succeeds; `bad_batches` one for what a person should look at. None: nowhere.
    `code` is a digest of the code that can change the result; `others` names the stages of the graph; `part` is the
    family's part of a stage that several families share. `kernels` takes what the processor's features chose, for the
    manifest. `share` is what this process does of the chunks of images, for `ChunkedWork`. `running` is the code of
    this process, and `own_code` compares that of the process that calls it with the stage's lock; None where that is
    not asked for.
    """

    name: str
    params: Params
    out: Path
    inputs: Mapping[str, Path | None]
    scratch: Path | None = None
    bad_batches: Path | None = None
    code: str = ""
    others: frozenset[str] = frozenset()
    part: ModuleType | None = None
    share: Share = field(default_factory=Share)
    own_code: Callable[[], RunningCode] | None = None
    running: RunningCode | None = None
    kernels: dict[str, str] = field(default_factory=dict, init=False)
    _checked: set[Path] = field(default_factory=set, init=False, repr=False)

    def input(self, option: str) -> Path:
        """The folder that another stage left, given for an option. When first asked for, it is checked to be as the
        stage left it."""
        path = self.linked(option)
        if path not in self._checked:
            writer = check_folder(path).stage
            if writer != path.name and path.name in self.others:
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
        """Print a line for a person; of several processes the one says it that finishes the stage."""
        if self.share.is_part:
            return
        print(f"{self.name}: {message}", file=sys.stderr, flush=True)


def run_stage(
    work: Callable[[Stage], None],
    *,
    about: str | None,
    sections: Mapping[str, type[Section]],
    inputs: Mapping[str, str],
    optional: Mapping[str, str] | None = None,
    resumable: bool = False,
    images_at_once: str | None = None,
    before_key: Callable[[Params], None] | None = None,
    of_family: str | None = None,
    part_optional: bool = False,
) -> None:
    """Parse the command line, run `work`, publish its output folder, and exit.

    Args:
        work: computes the stage and writes into `Stage.out`.
        about: the stage module's docstring, shown by --help.
        sections: the blocks of params.yaml that a command may name, and their models.
        inputs, optional: option name to help text; each takes a path.
        resumable: `Stage.out` may hold what a run that was cut short left under the same key, for `ChunkedWork`.
        images_at_once: the section whose value of that name says how many images it computes at once; a family's own
            sections are asked in any case. Where memory runs out, it can be lowered.
        before_key: called with the parameters before the key is made. A module that imports torch only under some of
            them loads `pipeline.runtime.device` here: the key and `over_processes` ask it for GPUs, if it is loaded.
        of_family: this module's name in stages/, where its commands name a family (`--family`) whose part of that name
            has a say: it is given as `Stage.part`, and its `SECTIONS` may be named too.
        part_optional: a family may do without that part.

    Exits as `StageProcess.until_end` says.
    """
    optional = optional or {}
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, text in {**inputs, **optional}.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=Path, required=option in inputs, help=text)
    if of_family is not None:
        parser.add_argument("--family", required=True, help="family of detectors, a folder of pipeline/families")
    parser.add_argument("--code", type=Path, help="lock of this stage's code, as stage code wrote it")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--stage", help="name of this stage in dvc.yaml (default: the name of the folder to write)")
    parser.add_argument(
        "--params", required=True, help="sections of params.yaml that this stage reads, comma-separated"
    )
    parser.add_argument("--params-file", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    name = arguments.stage or arguments.out.name
    keep_pandas_out()
    process = StageProcess(name, arguments.out)
    with process.until_end():
        part = family_part(arguments.family, of_family, part_optional) if of_family is not None else None
        loaded = [locked_part(arguments.family, part)] if of_family is not None else []
        compare = partial(running_code, arguments.code, process.notes / MEMO, loaded)
        code = compare()
        models = {**sections, **part.SECTIONS} if part is not None else sections
        given = RunningParams(arguments.params_file, models, arguments.params.split(","))
        params = given.params
        if hasattr(params.sections().get(name), "images_per_iteration"):
            process.less_memory = f"{name}.images_per_iteration or {process.less_memory}"
        own = {images_at_once, *(part.SECTIONS if part is not None else ())}
        for section, values in params.sections().items():
            if section in own and getattr(values, "images_at_once", 1) > 1:
                process.less_memory = f"{section}.images_at_once or {process.less_memory}"
        paths: dict[str, Path | None] = {option: getattr(arguments, option) for option in {**inputs, **optional}}
        for option, path in paths.items():
            if path is not None and not path.exists():
                raise InputError(
                    f"--{option.replace('_', '-')} {path}: no such path; run the stage that writes it first"
                )
        if before_key is not None:
            before_key(params)
        _end_of_imports()
        process.say_begin()
        started, began_at = time.monotonic(), time.time()
        with atomic_folder(arguments.out, run_key(name, params, paths, code.digest) if resumable else None) as out:
            scratch, bad_batches = process.notes / "scratch" / name, process.notes / "bad-batches"
            others = frozenset(process.stages())
            stage = Stage(
                name,
                params,
                out,
                paths,
                scratch,
                bad_batches,
                code.digest,
                others,
                part,
                own_code=compare,
                running=code,
            )
            work(stage)
            write_manifest(out, name, stage.kernels)
            if part is not None:
                process.check_listed(out)
            code.check()
            given.check()
        shutil.rmtree(scratch, ignore_errors=True)
        seconds = time.monotonic() - started
        record_run(process.root, name, began_at, seconds)
        process.say(f"{name}: done in {seconds:.1f} s, see {arguments.out}")


def _end_of_imports() -> None:
    """Where Python was started for this stage, it has collected no garbage while it imported, see `stages`.

    What is imported stays. Collections need not look at it, nor are its pages then copied in processes that are forked.
    torch gets one thread, and more where the stage asks for them: see `pipeline.runtime.process_start`.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
