"""`frcnn export`: a bundle's network in one of the formats of its family.

A safetensors file holds the weights under the other library's names and, in its header, the settings that rebuild the
network around them, so that it can be moved alone; a .json beside it shows the settings to people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.artifacts.atomic import atomic_file, write_text
from pipeline.bundle.file import Bundle, read_bundle
from pipeline.export.contract import formats_of
from pipeline.families.registry import DEFAULT, family_names, family_of
from pipeline.runtime.errors import InputError


def export_bundle(folder: Path, form: str, out: Path) -> list[str]:
    """Write the network of a bundle as a file of another library.

    Args:
        folder: the bundle. form: one of the formats of its family. out: the file, in a folder that exists.

    Returns:
        Lines on what was done.

    Raises:
        InputError: no sound bundle, no such format, a network that the format cannot express, or a file that cannot be
            written.
    """
    bundle = read_bundle(folder)
    formats = formats_of(bundle.settings.family)
    if form not in formats:
        title = family_of(bundle.settings.family).title
        raise InputError(f"--format {form}: {title} has no such format; it has {', '.join(formats)}")
    suffix = formats[form].suffix
    if out.suffix != suffix or not out.parent.is_dir():
        raise InputError(f"--out {out}: give a {suffix} file in a folder that exists")
    return formats[form].write(bundle, out)


def write_tensors(bundle: Bundle, out: Path, state: Mapping[str, Tensor], settings: str) -> list[str]:
    """Write a bundle's network to the .safetensors file `out`, and its settings to a .json beside it.

    Args:
        state: the weights: contiguous, on the CPU. settings: JSON, which names the bundle's family as `family`.

    Returns:
        Lines on what was done.

    Raises:
        InputError: they cannot be written.
    """
    shown = out.with_suffix(".json")
    try:
        with atomic_file(out) as temporary:
            save_file(dict(state), temporary, metadata={"settings": settings})
        write_text(shown, settings)
    except (OSError, SafetensorError) as error:
        raise InputError(f"--out {out}: cannot be written ({_first_line(error)}); choose another place") from error
    return [
        f"{out}: the {bundle.settings.network} network, {out.stat().st_size / 1e6:.1f} MB",
        f"{shown}: its settings and classes",
    ]


def load_exported(path: Path) -> nn.Module:
    """The network that `frcnn export --format torchvision` wrote to the .safetensors file `path`, in evaluation mode.

    It takes a list of (3, H, W) float32 RGB images in 0..1, which it resizes and normalises itself; one that has the
    size that the resize stage gives keeps its pixels. Detections are in pixels of the images given.

    Raises:
        InputError: the file is missing or damaged, or holds no exported network.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; {AGAIN}")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("settings", "")
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({_first_line(error)}); {AGAIN}") from error
    if not text:
        raise InputError(f"{path}: has no settings in its header, so it holds no exported network; {AGAIN}")
    family = _family_in(text)
    form = formats_of(family).get("torchvision") if family in family_names() else None
    if form is None or form.rebuild is None:
        raise InputError(
            f"{path}: settings.family in its header is {str(family)[:60]!r}, whose networks this version does not "
            f"rebuild from files; {AGAIN}"
        )
    return form.rebuild(text, state, path)


AGAIN = "write it again with frcnn export"


def _family_in(text: str) -> Any:
    """The family that settings name; those of the first files name none, and a text that is not JSON is left to the
    family to refuse."""
    try:
        content = json.loads(text)
    except ValueError:
        return DEFAULT
    return content.get("family", DEFAULT) if isinstance(content, dict) else DEFAULT


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
