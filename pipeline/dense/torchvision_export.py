"""The export of dense families for which torchvision has a class: that class with the bundle's weights.

A family's part `export` takes `FORMATS = dense_formats(KIND)` from here, with its `TorchvisionKind`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pipeline.bundle.contract import BundleParams
from pipeline.dense.bundle import as_params, typed
from pipeline.dense.export import FORMATS as ONNX
from pipeline.export.contract import Format
from pipeline.export.files import AGAIN, write_tensors
from pipeline.export.known import RESIZE_RULES, Value, refuse_unknown
from pipeline.families.registry import declared
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pipeline.artifacts.weights import State
    from pipeline.bundle.file import Bundle
    from pipeline.params.reading import Params

_FORMAT = "frcnn-torchvision-1"
Asked = Sequence[tuple[str, Value, Sequence[Value]]]


@dataclass(frozen=True)
class TorchvisionKind:
    """How a family's networks map to torchvision's.

    Attributes:
        asked: what torchvision's class asks of the parameters, as `pipeline.export.known.refuse_unknown` takes it.
        build: from the parameters, C classes, the background included, and the pixels' mean and std, which it takes as
            `image_mean` and `image_std`, to its network without weights.
        state: from the weights of trunk and head and the parameters to those of its network.
    """

    asked: Callable[[Params], Asked]
    build: Callable[[Params, int, Mapping[str, Any]], nn.Module]
    state: Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Params], State]


def dense_formats(load_kind: Callable[[], TorchvisionKind]) -> dict[str, Format]:
    """The formats of a dense family: torchvision's class, and ONNX.

    Args:
        load_kind: returns the kind; called only when needed, as torchvision's detectors take seconds to import.
    """
    write, rebuild = partial(_write, load_kind), partial(_rebuild, load_kind)
    return {"torchvision": Format(".safetensors", write, rebuild), **ONNX}


def _write(load_kind: Callable[[], TorchvisionKind], bundle: Bundle, out: Path) -> list[str]:
    kind, own = load_kind(), bundle.settings
    params, (trunk, head) = as_params(own.params), typed(bundle.parts)
    refuse_unknown(bundle, "torchvision", [("resize.rule", own.params.resize.rule, RESIZE_RULES), *kind.asked(params)])
    settings = {
        "format": _FORMAT,
        "family": own.family,
        "network": own.network,
        "classes": list(own.classes),
        "image_mean": trunk.pixel_mean.tolist(),
        "image_std": trunk.pixel_std.tolist(),
        "params": own.params.model_dump(mode="json"),
    }
    state = kind.state(trunk.state_dict(), head.state_dict(), params)
    text = json.dumps(settings, indent=1, ensure_ascii=False) + "\n"
    return write_tensors(bundle, out, {name: value.cpu().contiguous() for name, value in state.items()}, text)


def _rebuild(
    load_kind: Callable[[], TorchvisionKind], text: str, state: Mapping[str, Tensor], source: Path
) -> nn.Module:
    from pipeline.artifacts.weights import restore
    from pipeline.building.memory_format import channels_last

    params, classes, pixels = _settings(text, source)
    model = load_kind().build(as_params(params), len(classes), pixels)
    restore(model, state, source)
    return channels_last(model).eval()


def _settings(text: str, source: Path) -> tuple[BundleParams, list[str], dict[str, Any]]:
    try:
        content = json.loads(text)
        if content["format"] != _FORMAT:
            raise ValueError(f"format is {content['format']!r}, not {_FORMAT!r}")
        model: type[BundleParams] = declared(content["family"], "bundle", "BUNDLE").params
        params = model.model_validate_json(json.dumps(content["params"]), strict=True)
        classes, pixels = content["classes"], {name: content[name] for name in ("image_mean", "image_std")}
        if not _is_list(classes, str) or not classes:
            raise ValueError(f"classes are {classes!r}")
        for name, own in pixels.items():  # torchvision takes ImageNet's where there are none
            if not _is_list(own, float | int) or len(own) != 3:
                raise ValueError(f"{name} is {own!r}")
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(["settings.params", *map(str, fault["loc"])])
        raise InputError(f"{source}: {where} in its header: {fault['msg']}; {AGAIN}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{source}: the settings in its header are not whole ({error!r}); {AGAIN}") from error
    return params, classes, pixels


def _is_list(value: object, of: type | UnionType) -> bool:
    return isinstance(value, list) and all(isinstance(own, of) for own in value)
