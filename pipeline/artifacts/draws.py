"""What was drawn of each training image in the first epoch: the table that the dense_targets stage writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.artifacts.fields import ID, table_schema
from pipeline.artifacts.image_rows import ImageRows
from pipeline.augment.draw import Draw
from pipeline.augment.light import Light
from pipeline.augment.window import Rectangle, Window
from pipeline.runtime.errors import InputError

DRAWS_FILE = "draws.parquet"

DRAWS = table_schema(
    ID,
    ("source_width", pa.int32(), "px of the image that is drawn from"),
    ("source_height", pa.int32(), "px of the image that is drawn from"),
    *[(name, pa.int32(), "px of the image that is drawn from; beyond it the canvas") for name in Rectangle._fields],
    ("flip", pa.bool_(), "mirrored left to right"),
    ("expand", pa.float32(), "sides of the canvas over those of the image, 1 for none"),
    ("min_iou", pa.string(), "whole, any, or the least IoU with a gt box"),
    ("brightness", pa.float32(), "levels of 255, added"),
    ("contrast", pa.float32(), "factor"),
    ("saturation", pa.float32(), "factor"),
    ("hue", pa.float32(), "degrees"),
    ("contrast_first", pa.bool_(), "before saturation and hue, or after them"),
    ("gt_boxes", pa.int32(), "trainable gt boxes in the view"),
)


def draw_columns(image_id: str, draw: Draw, gt_boxes: int) -> dict[str, Any]:
    """The row of an image that is seen with so many trainable gt boxes."""
    height, width = draw.window.source
    return {
        "image_id": image_id,
        "source_width": width,
        "source_height": height,
        **draw.window.shown._asdict(),
        "flip": draw.window.flip,
        "expand": draw.expand,
        "min_iou": draw.min_iou,
        **draw.light._asdict(),
        "gt_boxes": gt_boxes,
    }


class Draws:
    """What was drawn in the first epoch, of any image."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._rows = ImageRows(self.folder / DRAWS_FILE, DRAWS)

    def __getitem__(self, image_id: str) -> Draw:
        """
        Raises:
            InputError: the table has no such image.
        """
        rows = self._rows[image_id, 0]
        if len(rows["flip"]) != 1:
            raise InputError(
                f"{self.folder / DRAWS_FILE}: has no image {image_id!r}; rerun the stage that writes it "
                f"(dvc repro {self.folder.name})"
            )
        own = {name: values[0].item() if hasattr(values[0], "item") else values[0] for name, values in rows.items()}
        shown = Rectangle(*(own[name] for name in Rectangle._fields))
        return Draw(
            Window((own["source_height"], own["source_width"]), shown, own["flip"]),
            Light(*(own[name] for name in Light._fields)),
            own["expand"],
            own["min_iou"],
        )


def has_draws(folder: Path) -> bool:
    """Whether a folder of the dense_targets stage has drawn views."""
    return (Path(folder) / DRAWS_FILE).is_file()
