"""VoTT 2: one export with all `assets`, or a file an asset; `boundingBox` in px from the image's top left corner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.datasets.faults import Faults
from pipeline.datasets.records import XYWH, one_line
from pipeline.datasets.tools.annotated import Numbers, Tool, ToolImage, ToolObject, load_json
from pipeline.datasets.tools.image_finder import ImageFinder
from pipeline.datasets.tools.shapes import listed, sized, text_of
from pipeline.runtime.errors import InputError


def _parse(path: Path, finder: ImageFinder, faults: Faults) -> list[ToolImage] | None:
    content = load_json(path)
    if not isinstance(content, dict):
        return None
    all_assets = content.get("assets")
    if isinstance(all_assets, dict) and any("asset" in own for own in all_assets.values() if isinstance(own, dict)):
        assets = {f"{path}: asset {one_line(key)}": value for key, value in all_assets.items()}
    elif "asset" in content and "regions" in content:
        assets = {str(path): content}
    else:
        return None
    images = []
    for where, asset in assets.items():
        with faults.going_on():
            images.append(_image(asset, where))
    return images


def _image(content: Any, where: str) -> ToolImage:
    asset = content.get("asset") if isinstance(content, dict) else None
    if not isinstance(asset, dict):
        raise InputError(f"{where}: has no asset; fix the file")
    if "regions" not in content:
        return ToolImage("", where, (), passed_over=[("asset", "without regions")])
    objects = []
    for index, region in enumerate(listed(content, "regions", where)):
        tags = region.get("tags")
        if not isinstance(tags, list) or not tags or not all(isinstance(tag, str) for tag in tags):
            raise InputError(f"{where}: regions[{index}] has no tags; give it one")
        box = _box(region, f"{where}: regions[{index}]")
        drawn_as = (
            "" if region.get("type", "RECTANGLE") in ("RECTANGLE", "SQUARE") else one_line(region["type"]).lower()
        )
        objects += [ToolObject(tag, box, drawn_as, index=index) for tag in tags]
    size = asset.get("size")
    return ToolImage(
        text_of(asset, "name", where),
        where,
        objects,
        sized(size.get("width"), size.get("height")) if isinstance(size, dict) else None,
    )


def _box(region: dict[str, Any], where: str) -> Numbers:
    box = region.get("boundingBox")
    if not isinstance(box, dict):
        raise InputError(f"{where} has no boundingBox; correct it")
    return box.get("left"), box.get("top"), box.get("width"), box.get("height")


VOTT = Tool("vott", "VoTT", ".json", XYWH, _parse)
