"""Suggests how to read a folder that was not read: its layout, or that of a folder below it, as a command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from pipeline.data_layouts.layout import Layout
from pipeline.data_layouts.recognising import READERS, divide_it, folders_below, is_read, layouts_of
from pipeline.families.registry import DEFAULT
from pipeline.params.dataset import DatasetParams
from pipeline.presets.apply import preset_names, preset_params

# Presets whose reader is this one, to start from, the smaller first; of a family with none of them, all of its own.
_PRESETS = {"voc": ("bccd_tiny", "voc6_vgg16", "voc07_vgg16"), "coco": ("tinycoco",), "kitti": ("kitti_tiny_vgg16",)}


def layout_hint(root: Path, tried: DatasetParams | None = None, family: str = DEFAULT) -> str:
    """What the folder, or one in it, holds, and how to check it so; empty where no reader finds a labelled image.

    Args:
        root: the folder.
        tried: with what it has been read already.
        family: whose presets to offer.
    """
    presets = preset_names(family)
    base = _base_of(presets)
    defaults = preset_params(base if presets else "default").dataset
    for folder in folders_below(root):
        for layout in layouts_of(folder, defaults):
            if folder == root and tried is not None and _reads_alike(layout.params(defaults), tried):
                continue
            return f"{folder} looks made for reader {layout.reader} ({layout.what}): {_how_to(folder, layout, presets)}"
    return ""


def _base_of(presets: Sequence[str]) -> str:
    """The preset of a family to change a few settings of: default, or else the first; a word for one where none is."""
    return "default" if "default" in presets else presets[0] if presets else "PRESET"


def choose_reader(root: Path, family: str = DEFAULT) -> str:
    """How to choose a reader for the folder, in one line, with the presets of a family."""
    base = _base_of(preset_names(family))
    general = f"frcnn preset {base} dataset.reader=READER dataset.root=PATH, READER one of {', '.join(READERS)}"
    return layout_hint(root, family=family) or general


def _reads_alike(one: DatasetParams, other: DatasetParams) -> bool:
    return one.reader == other.reader and getattr(one, one.reader) == getattr(other, other.reader)


def _how_to(folder: Path, layout: Layout, presets: Sequence[str]) -> str:
    command = shlex.join([f"dataset.reader={layout.reader}", f"dataset.root={folder}"])
    command = f"frcnn preset {_base_of(presets)} {command}"
    if not layout.is_divided:
        return f"{command}; it has nothing to test on, so {divide_it(layout.reader)}"
    liked = [name for name in _PRESETS.get(layout.reader, ()) if name in presets]
    tried = liked or [name for name in presets if preset_params(name).dataset.reader == layout.reader]
    fitting = [name for name in tried if is_read(folder, preset_params(name).dataset)]
    also = f"; or frcnn check-data {shlex.quote(str(folder))} --preset {' or '.join(fitting)}" if fitting else ""
    return f"{command}, then frcnn check-data{also}"
