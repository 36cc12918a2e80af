"""Stages run in the process of the tests, as dvc.yaml wires them: no process is started and no torch imported anew."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import runpy
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn
from unittest.mock import patch

import yaml

from pipeline.artifacts.manifest import write_manifest
from pipeline.families.registry import DEFAULT
from pipeline.params.file import check_params
from pipeline.params.reading import Params, read_content
from pipeline.runtime.family_part import family_part
from pipeline.runtime.stage import Stage
from tests.conftest import ROOT, apply_overlay
from tests.defaults import default_content

OF_FAMILIES = ("dense_targets", "train_dense", "detect_dense", "evaluate")
"""The modules of stages/ that several families share."""


def words_of(root: Path, name: str) -> list[str]:
    """The module of a stage and what its command gives it, by the dvc.yaml in `root`, or else this project's."""
    path = root / "dvc.yaml"
    words = _stages_of((path if path.exists() else ROOT / "dvc.yaml").read_text())[name]["cmd"].split()
    assert words[:2] == ["python", "-m"]
    return words[2:]


def command_of(root: Path, name: str) -> tuple[str, dict[str, str]]:
    """The module of a stage and the options of its command."""
    module, *words = words_of(root, name)
    names = (word.removeprefix("--").replace("-", "_") for word in words[::2])
    return module, dict(zip(names, words[1::2], strict=True))


@cache
def _stages_of(text: str) -> dict[str, Any]:
    return yaml.safe_load(text)["stages"]


def run_stage(
    name: str,
    root: Path,
    out: Path | None = None,
    params: Mapping[str, Any] | None = None,
    **inputs: Path,
) -> Path:
    """Run a stage in this process.

    Args:
        name: the stage. root: where data/ is, and params.yaml, or the defaults count.
        out: a folder that is not there or empty; by default the stage's own in data/.
        params: changes to the parameters.
        inputs: folders in place of those that the command names, by option.

    Returns:
        The folder that the stage wrote, with its manifest.
    """
    work, stage = prepared(name, root, out, params, **inputs)
    assert not any(stage.out.iterdir()), f"{stage.out} is not empty"
    work(stage)
    write_manifest(stage.out, name, stage.kernels)
    return stage.out


def prepared(
    name: str,
    root: Path,
    out: Path | None = None,
    params: Mapping[str, Any] | None = None,
    scratch: Path | None = None,
    **inputs: Path,
) -> tuple[Callable[[Stage], None], Stage]:
    """What computes a stage, and the stage to give it; arguments as in `run_stage`.

    Args:
        scratch: where states are kept from which a run that was cut short can resume; None: nowhere.
    """
    module, options = command_of(root, name)
    sections = options.pop("params").split(",")
    part = _part(module.rpartition(".")[2], options.pop("family", DEFAULT))
    out = out or root / options["out"]
    del options["out"], options["code"]
    assert inputs.keys() <= options.keys(), f"{name} has no such option"
    own = root / "params.yaml"
    content = read_content(own) if own.exists() else default_content()
    checked = check_params(apply_overlay(content, dict(params or {})), own)
    paths: defaultdict[str, Path | None] = defaultdict(lambda: None)
    paths.update({option: inputs.get(option, root / path) for option, path in options.items()})
    out.mkdir(parents=True, exist_ok=True)
    work: Callable[[Stage], None] = getattr(importlib.import_module(module), module.rpartition(".")[2])
    given = Params({section: checked[section] for section in sections})
    return work, Stage(name, given, out, paths, scratch, part=part)


def _part(kind: str, family: str) -> ModuleType | None:
    """The family's part of a stage of this module, where those of the module have one."""
    return family_part(family, kind, optional=True) if kind in OF_FAMILIES else None


def run_stages(root: Path, *names: str) -> None:
    """Run stages in `root`, one after another."""
    for name in names:
        run_stage(name, root)


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


class _Exit(BaseException):
    """In place of `os._exit`."""


def run_command(root: Path, module: str, *words: str, dvc_root: Path | None = None) -> Ended:
    """What `python -m module words` does in `root`; `dvc_root`: the project that DVC would run it in."""
    with _not_imported(module):
        act = partial(runpy.run_module, module, run_name="__main__")
        return ended(act, root, *words, environment={"DVC_ROOT": str(dvc_root)} if dvc_root else {})


def run_frcnn(root: Path, *words: str) -> Ended:
    """What `frcnn words` does in `root`."""
    from pipeline.cli import main

    return ended(main, root, *words)


def ended(act: Callable[[], object], root: Path, *words: str, environment: Mapping[str, str] | None = None) -> Ended:
    """What a program does in `root` that ends its process; an error that it does not tell is raised."""
    printed, said = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with (
        contextlib.chdir(root),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(said),
        patch.object(sys, "argv", ["program", *words]),
        patch.object(os, "_exit", _exit),
        patch.dict(os.environ, environment or {}),
        patch(
            "pipeline.runtime.stage_process.end_with_parent"
        ),  # which would watch it in a thread as long as the tests run
    ):
        try:
            act()
        except (SystemExit, _Exit) as end:
            return Ended(int(end.args[0] or 0), printed.getvalue(), said.getvalue())
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    raise AssertionError("the program has not ended its process")


def _exit(status: int) -> NoReturn:
    raise _Exit(status)


@contextlib.contextmanager
def _not_imported(module: str) -> Iterator[None]:
    """Within, it is as if nobody had imported the module, of whom `runpy` would warn."""
    imported = sys.modules.pop(module, None)
    try:
        yield
    finally:
        if imported is not None:
            sys.modules[module] = imported
