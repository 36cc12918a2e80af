"""The file of an exported network, written from a bundle and read back.

A safetensors file holds the weights under torchvision's names and, in its header, the settings that rebuild the network
around them, so that it can be moved alone; a .json beside it shows the settings to people.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torchvision.models.detection import FasterRCNN

from pipeline.artifacts.atomic import atomic_file, write_text
from pipeline.bundle.file import Bundle, read_bundle
from pipeline.export.known import FORMATS, refuse_unknown
from pipeline.export.model import ExportSettings, build_torchvision, settings_of, torchvision_state
from pipeline.runtime.errors import InputError


def export_bundle(folder: Path, form: str, out: Path) -> list[str]:
    """Write the network of a bundle as a file of another library.

    Args:
        folder: the bundle. form: torchvision (a .safetensors, see `load_exported`) or onnx.

    Returns:
        Lines on what was done.

    Raises:
        InputError: no such format, no sound bundle, a network that the format cannot express, or a file that cannot be
            written.
    """
    if form not in FORMATS:
        raise InputError(f"--format {form}: no such format; there are {', '.join(FORMATS)}")
    bundle = read_bundle(folder)
    if form == "torchvision":
        return export_torchvision(bundle, out)
    from pipeline.export.onnx import export_onnx

    return export_onnx(bundle, out)


def export_torchvision(bundle: Bundle, out: Path) -> list[str]:
    """Write the network for torchvision to the .safetensors file `out`, and its settings to a .json beside it.

    Returns:
        Lines on what was done.

    Raises:
        InputError: `out` has another suffix or cannot be written, or the network cannot be expressed.
    """
    refuse_unknown(bundle, "torchvision")
    if out.suffix != ".safetensors" or not out.parent.is_dir():
        raise InputError(f"--out {out}: give a .safetensors file in a folder that exists")
    own = bundle.settings
    settings = settings_of(own.params, own.network, own.classes)
    text, shown = settings.model_dump_json(indent=1) + "\n", out.with_suffix(".json")
    try:
        with atomic_file(out) as temporary:
            save_file(torchvision_state(*bundle.parts), temporary, metadata={"settings": text})
        write_text(shown, text)
    except (OSError, SafetensorError) as error:
        raise InputError(f"--out {out}: cannot be written ({_first_line(error)}); choose another place") from error
    return [
        f"{out}: the {own.network} network, {out.stat().st_size / 1e6:.1f} MB",
        f"{shown}: its settings and classes",
    ]


def load_exported(path: Path) -> FasterRCNN:
    """The network that `frcnn export` wrote to the .safetensors file `path`, in evaluation mode.

    It takes a list of (3, H, W) float32 RGB images in 0..1, which it resizes and normalises itself; one that has the
    size that the resize stage gives keeps its pixels. Detections are in pixels of the images given.

    Raises:
        InputError: the file is missing or damaged, or holds no exported network.
    """
    path = Path(path)
    again = "write it again with frcnn export"
    if not path.is_file():
        raise InputError(f"{path}: no such file; {again}")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("settings", "")
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({_first_line(error)}); {again}") from error
    if not text:
        raise InputError(f"{path}: has no settings in its header, so it holds no exported network; {again}")
    try:
        settings = ExportSettings.model_validate_json(text, strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(["settings", *map(str, fault["loc"])])
        raise InputError(f"{path}: {where} in its header: {fault['msg']}; {again}") from error
    return build_torchvision(settings, state, path)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
