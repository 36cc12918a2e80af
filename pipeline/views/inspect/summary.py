"""The text of `frcnn inspect`: which stage wrote an artifact, what it is for, and each of its files in figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.artifacts.manifest import MANIFEST
from pipeline.graphs.command import StageCommand
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.views.inspect.artifact import Artifact
from pipeline.views.inspect.file_summaries import csv_lines, json_lines, safetensors_lines
from pipeline.views.inspect.text import size_text


def summary_lines(artifact: Artifact, root: Path) -> Iterator[str]:
    """The lines on a stage's folder, or on the requested file.

    Large tables are read column by column, shards and weights by their headers.

    Raises:
        InputError: a file is damaged, or is of a kind that no stage writes.
    """
    command, folder = artifact.command, Path(root) / artifact.command.out
    yield f"{command.stage}: {artifact.purpose}"
    inputs = [f"--{name.replace('_', '-')} {path}" for name, path in command.options.items()]
    yield f"by stages/{command.module}.py from {', '.join(inputs)}; parameters {', '.join(command.params)}"
    if artifact.file is not None:
        yield ""
        yield from _file_lines(artifact.file, command, root, asked_for=True)
        return
    files = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != MANIFEST)
    shards: dict[str, list[Path]] = {}
    for path in files:
        if path.suffix == ".npz":
            shards.setdefault(path.name.rpartition("-")[0], []).append(path)
    if not files:
        yield f"{command.out}: empty"
    for path in files:
        if path.suffix != ".npz":
            yield ""
            yield from _file_lines(path, command, root, asked_for=False)
    for prefix, paths in shards.items():
        from pipeline.views.inspect.npz_summary import npz_lines

        yield ""
        yield from npz_lines(f"{prefix}-*.npz", paths)


def _file_lines(path: Path, command: StageCommand, root: Path, asked_for: bool) -> Iterator[str]:
    if path.is_dir():
        files = [own for own in path.iterdir() if own.is_file()]
        yield f"{path.name}/: {count_text(len(files), 'file')}, {size_text(sum(own.stat().st_size for own in files))}"
    elif path.suffix == ".parquet":
        from pipeline.views.inspect.parquet_summary import parquet_lines

        yield from parquet_lines(path, class_names(command, root))
    elif path.suffix == ".npz":
        from pipeline.views.inspect.npz_summary import npz_lines

        yield from npz_lines(path.name, [path])
    elif path.suffix == ".safetensors":
        yield from safetensors_lines(path, tensor_by_tensor=asked_for)
    elif path.suffix == ".csv":
        yield from csv_lines(path)
    elif path.suffix == ".json":
        yield from json_lines(path, asked_for)
    elif asked_for:
        raise InputError(f"{path}: nothing is known of such files; name a .parquet, .npz, .safetensors, .csv or .json")
    else:
        yield f"{path.name}: {size_text(path.stat().st_size)}"


def class_names(command: StageCommand, root: Path) -> list[str]:
    """classes.json of the stage or of the resize stage that it reads; empty where there is none to be read."""
    for folder in (command.out, command.options.get("resize"), command.options.get("dataset"), Path("data/resize")):
        path = Path(root) / folder / "classes.json" if folder is not None else None
        if path is not None and path.is_file():
            try:
                names = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            return [str(name) for name in names] if isinstance(names, list) else []
    return []
