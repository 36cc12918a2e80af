"""timm models (PyTorch Image Models) as backbones: which of a model's maps are used, and their sizes.

timm is optional, and is loaded where a model of its is named. A model is given by what follows `timm/` in
`backbone.name`: its name with timm, and after a dot the tag of its weights.

Shapes: H, W image height, width; Fh, Fw feature map height, width.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.trunk_settings import STRIDE_BELOW, TIMM, TrunkSettings
from pipeline.runtime.errors import InputError

_PYRAMID = (4, 8, 16, 32)  # strides of the maps that a Feature Pyramid Network stands on, C2 to C5
_ALONE = 16  # stride of the map of a trunk without a neck, as of VGG16 and C4

Sides = tuple[int, int]


@dataclass(frozen=True)
class TimmMaps:
    """Which of a model's maps a trunk takes.

    Attributes:
        layout: of these maps.
        indices: of each, as `forward_intermediates` counts them.
        norm: whether the model's last norm is applied, as its own heads see the map: of a transformer whose maps all
            have one stride.
    """

    layout: MapLayout
    indices: tuple[int, ...]
    norm: bool


def installed_timm(name: str) -> Any:
    """The module timm.

    Args:
        name: of the backbone, for the message.

    Raises:
        InputError: it is not installed, or cannot be imported.
    """
    try:
        import timm
    except ImportError as error:
        why = "is not installed" if error.name == "timm" else f"cannot be imported ({error})"
        raise InputError(
            f"backbone.name {name}: timm {why}; install this project with its extra: pip install '.[timm]'"
        ) from error
    return timm


def timm_version() -> str:
    """The version of timm that is installed."""
    return version("timm")


def timm_net(name: str) -> Any:
    """The model, an nn.Module with fresh weights drawn from torch's global state, in evaluation mode.

    A transformer is made for images of any size.

    Raises:
        InputError: timm is not installed, or has no such model, or no maps of it.
    """
    timm = installed_timm(name)
    model = name.removeprefix(TIMM)
    try:
        if not timm.is_model(model):
            raise InputError(
                f"backbone.name {name}: timm {timm_version()} has no model {model}; timm.list_models() lists them"
            )
        try:
            net = timm.create_model(model, pretrained=False, dynamic_img_size=True)
        except TypeError:  # most models take images of any size as they are, and no such argument
            net = timm.create_model(model, pretrained=False)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:  # as of an unknown tag
        raise InputError(
            f"backbone.name {name}: timm {timm_version()} cannot make it ({_line(error)}); timm.list_models(pretrained="
            "True) lists models with their tags"
        ) from error
    if not (hasattr(net, "forward_intermediates") and getattr(net, "feature_info", None)):
        raise InputError(
            f"backbone.name {name}: timm {timm_version()} gives no maps of this model (forward_intermediates); "
            "choose another"
        )
    return net.eval()


def timm_maps(name: str, settings: TrunkSettings) -> TimmMaps:
    """The maps that a trunk takes: under a neck those of strides 4, 8, 16 and 32, else one of stride 16, or the
    coarsest that is finer, such as 14 of DINOv2.

    How a side that is not a multiple of a stride is rounded is read off the model: it is run on images without content.

    Raises:
        InputError: timm is not installed, has no such model, or the model's maps are not such that a neck or a head
            could stand on them.
    """
    return _maps(name, settings.size_divisible, settings.neck.name if settings.neck else None)


@cache
def _maps(name: str, multiple: int, neck: str | None) -> TimmMaps:
    installed_timm(name)
    torch = sys.modules[
        "torch"
    ]  # timm has loaded it; an import would lock its version where no model of timm's is used
    with torch.device("meta"):  # no weights are made, and nothing is computed
        net = timm_net(name)
        info = getattr(net.feature_info, "info", net.feature_info)
        last = {int(each["reduction"]): index for index, each in enumerate(info)}
        strides = _strides(name, sorted(last), neck)
        indices, norm = tuple(last[stride] for stride in strides), len(last) == 1
        left = pruned(net, indices, norm)

    def cells(height: int, width: int) -> list[tuple[int, Sides]]:
        with torch.device("meta"), torch.no_grad():
            maps = net.forward_intermediates(
                torch.zeros(1, 3, height, width), indices=left, norm=norm, intermediates_only=True
            )
        return [(each.shape[1], (each.shape[2], each.shape[3])) for each in maps]

    levels = levels_of(strides, multiple, cells)
    if isinstance(levels, str):
        padding = f" (images are padded to a multiple of {multiple} px)" if multiple > 1 else ""
        advice = "choose a model that takes images of any size"
        if multiple % strides[-1]:
            advice = f"set backbone.size_divisible to {strides[-1]}"
        raise InputError(f"backbone.name {name}: {levels}{padding}; {advice}")
    return TimmMaps(MapLayout(levels, multiple), indices, norm)


def pruned(net: Any, indices: Sequence[int], norm: bool) -> list[int]:
    """Take the layers that no map needs out of a model, and return the indices of the maps in what is left."""
    return list(net.prune_intermediate_layers(list(indices), prune_norm=not norm))


def _strides(name: str, strides: Sequence[int], neck: str | None) -> tuple[int, ...]:
    if neck is None:
        return (max((own for own in strides if own <= _ALONE), default=strides[0]),)
    wanted = (STRIDE_BELOW[neck],) if neck in STRIDE_BELOW else _PYRAMID
    if not set(wanted) <= set(strides):
        *some, last = map(str, wanted)
        needs = f"maps of strides {', '.join(some)} and {last}" if some else f"a map of stride {last}"
        others = "simple_fpn or none" if strides == [_ALONE] else "none"
        raise InputError(
            f"backbone.name {name}: neck {neck} stands on {needs}, and this model has "
            f"{'those' if len(strides) > 1 else 'one'} of {', '.join(map(str, strides))}; set backbone.neck.name to "
            f"{others}, or choose another model"
        )
    return wanted


def levels_of(
    strides: Sequence[int], multiple: int, cells: Callable[[int, int], list[tuple[int, Sides]]]
) -> tuple[Level, ...] | str:
    """The levels as a model makes them of images of many sizes, or what is wrong with them.

    Args:
        cells: from H and W of an image to the channels and (Fh, Fw) of each map.
    """
    sides = _telling_sides(strides, multiple)
    found: list[tuple[Sides, list[tuple[int, Sides]]]] = []
    for size in zip(sides, (*sides[1:], sides[0]), strict=True):
        try:
            found.append((size, cells(*size)))
        except (RuntimeError, AssertionError, ValueError, TypeError, NotImplementedError) as error:
            return f"it takes no images of {size[1]} x {size[0]} px ({_line(error)})"
    levels = []
    for index, stride in enumerate(strides):
        depth = found[0][1][index][0]
        for round_up in (True, False):
            level = Level(stride, depth, round_up)
            if all(_fits(level, size, made[index]) for size, made in found):
                levels.append(level)
                break
        else:
            size, own = next(
                (size, made[index][1]) for size, made in found if not _fits(Level(stride, depth), size, made[index])
            )
            return (
                f"its map of stride {stride} has {own[1]} x {own[0]} cells of an image of {size[1]} x {size[0]} px, "
                "and rounds neither up nor down throughout"
            )
    return tuple(levels)


def _fits(level: Level, size: Sides, made: tuple[int, Sides]) -> bool:
    import numpy as np

    return made == (level.channels, tuple(level.cells(np.array(size)).tolist()))


def _telling_sides(strides: Iterable[int], multiple: int) -> list[int]:
    """Sides of images, as they are padded, that tell how maps are rounded: of each stride a multiple, the least that
    is more than one and the most that is less than the next. Cells do not fall as a side grows, so that all between
    are known too."""
    strides = list(strides)
    least, whole = max(strides), math.lcm(*strides)
    first = -(-least // multiple) * multiple
    padded = list(itertools.islice(itertools.count(first, multiple), whole // math.gcd(whole, multiple)))
    chosen = {first, padded[-1]}
    for stride in strides:
        by_rest = sorted(padded, key=lambda side: side % stride)
        chosen |= {by_rest[0], by_rest[-1], *[side for side in by_rest if side % stride][:1]}
    return sorted(chosen)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
