"""Annotation tools' own files: in a folder a split, files that are called by splits, or all together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pipeline.data_layouts.folders import files_in, folders_in
from pipeline.data_layouts.layout import Layout, Miss, by_split
from pipeline.datasets.base import Split
from pipeline.datasets.faults import Faults
from pipeline.datasets.tools.all_tools import TOOLS
from pipeline.datasets.tools.annotated import Tool
from pipeline.datasets.tools.image_finder import ImageFinder
from pipeline.runtime.errors import InputError

_TRIED = 5  # files of a folder
_MOST_FOLDERS = 50
_LARGEST = 1 << 24  # bytes of a file that is tried, as COCO's files are JSON too


def _layouts_of(tool: Tool, root: Path) -> Iterator[Layout | Miss]:
    finder, inside = ImageFinder(root), folders_in(root)[:_MOST_FOLDERS]
    folders = by_split(f"{name}/" for name in inside if _is_own(tool, root / name, finder))
    if "train" in folders:
        yield Layout(tool.section, f"{tool.title} with a folder a split", folders)
    files = by_split(files_in(root, tool.suffix))
    if len(files) > 1 and all(_parses(tool, root / name, finder) for names in files.values() for name in names):
        yield Layout(tool.section, f"{tool.title} with a file a split", files)
    if any(_is_own(tool, root / name, finder) for name in ("", *inside)):
        whole: Mapping[Split, list[str]] = {"train": ["./"]}
        yield Layout(tool.section, f"{tool.title} without splits", whole)
    elif (fault := _fault(tool, root, finder)) is not None:
        yield Miss(tool.section, fault)


def _is_own(tool: Tool, folder: Path, finder: ImageFinder) -> bool:
    return any(_parses(tool, folder / name, finder) for name in itertools.islice(files_in(folder, tool.suffix), _TRIED))


def _fault(tool: Tool, root: Path, finder: ImageFinder) -> str | None:
    """Why one of the first files in the root cannot be parsed, None where they can be or are of something else."""
    for name in files_in(root, tool.suffix)[:_TRIED]:
        try:
            if (root / name).stat().st_size <= _LARGEST:
                tool.parse(root / name, finder, Faults(keep=True))
        except InputError as error:
            return str(error).removeprefix(f"{root}/")
        except OSError:
            continue
    return None


def _parses(tool: Tool, path: Path, finder: ImageFinder) -> bool:
    try:
        if path.stat().st_size > _LARGEST:
            return False
        return tool.parse(path, finder, Faults(keep=True)) is not None
    except (InputError, OSError):
        return False


def _of(tool: Tool) -> Callable[[Path], Iterator[Layout | Miss]]:
    return lambda root: _layouts_of(tool, root)


TOOL_LAYOUTS = {name: _of(tool) for name, tool in TOOLS.items()}
