"""A bundle as a file that holds a torchvision FasterRCNN, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from pipeline.bundle.file import Bundle
from pipeline.export.files import AGAIN, write_tensors
from pipeline.families.faster_rcnn.bundle import typed
from pipeline.families.faster_rcnn.exported.known import refuse_unknown
from pipeline.families.faster_rcnn.exported.settings import ExportSettings, settings_of
from pipeline.families.faster_rcnn.exported.torchvision_model import build_torchvision, torchvision_state
from pipeline.runtime.errors import InputError


def export_torchvision(bundle: Bundle, out: Path) -> list[str]:
    """Write the network for torchvision to the .safetensors file `out`, and its settings to a .json beside it.

    Returns:
        Lines on what was done.

    Raises:
        InputError: `out` cannot be written, or the network cannot be expressed.
    """
    refuse_unknown(bundle, "torchvision")
    own = bundle.settings
    trunk, rpn, head = typed(bundle.parts)
    settings = settings_of(own.params, own.network, own.classes, trunk, head)
    text = settings.model_dump_json(indent=1) + "\n"
    return write_tensors(bundle, out, torchvision_state(trunk, rpn, head), text)


def rebuild_torchvision(text: str, state: Mapping[str, Tensor], source: Path) -> FasterRCNN:
    """The network in a file that `export_torchvision` wrote, built from its header and tensors.

    Raises:
        InputError: the settings are not such, or the tensors are others; `source` is named.
    """
    try:
        settings = ExportSettings.model_validate_json(text, strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(["settings", *map(str, fault["loc"])])
        raise InputError(f"{source}: {where} in its header: {fault['msg']}; {AGAIN}") from error
    return build_torchvision(settings, state, source)
