"""The page of a small network, in a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.families.faster_rcnn.params.typed import FasterRCNNParams, typed
from pipeline.presets.apply import chosen_params
from pipeline.walk.network import RECIPE, make_network
from pipeline.walk.page import Page, make_page
from pipeline.walk.photo import Photo, drawn_photo

SMALL = ["backbone.name=tiny", "backbone.weights=random", "roi_head.hidden=16", "rpn.channels=16"]
SMALL += ["resize.fixed_width=160", "resize.fixed_height=160", "finetune_joint.pre_nms=500", "detect.pre_nms=400"]


@pytest.fixture(scope="session")
def small_params() -> FasterRCNNParams:
    """The paper's recipe with a small network on a small image."""
    return typed(chosen_params(Path(), RECIPE, SMALL))


@pytest.fixture(scope="session")
def drawn() -> Photo:
    """The photo that is drawn where none is given."""
    return drawn_photo()


@pytest.fixture(scope="session")
def small_page(small_params: FasterRCNNParams, drawn: Photo) -> Page:
    """The small network's page of the drawn photo."""
    return make_page(drawn, make_network(small_params, None))
