"""Necks by name. A new one is one file with a `Neck` and one line here and in `pipeline.geometry.necks`."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.geometry.layout import MapLayout
from pipeline.geometry.ssd_necks import SSD_SHAPES
from pipeline.geometry.trunk_settings import NeckSettings
from pipeline.nn.backbones.trunk import Neck
from pipeline.nn.necks.fpn import FPN
from pipeline.nn.necks.fpn_p3_p7 import FPNP3P7
from pipeline.nn.necks.simple_fpn import SimpleFPN
from pipeline.nn.necks.ssd import SSDNeck

NECKS: dict[str, Callable[[MapLayout, NeckSettings], Neck]] = {
    "fpn": FPN,
    "fpn_p3_p7": FPNP3P7,
    "simple_fpn": SimpleFPN,
    **dict.fromkeys(SSD_SHAPES, SSDNeck),
}


def build_neck(settings: NeckSettings, backbone: MapLayout) -> Neck:
    """A neck on the maps of all stages of a backbone, with weights yet to be loaded or drawn."""
    return NECKS[settings.name](backbone, settings)
