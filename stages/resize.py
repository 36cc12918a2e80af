"""Resize every image and scale its boxes: images.parquet, boxes.parquet, and pixels in npz shards unless `resize.keep`
is none."""

from __future__ import annotations

import shutil

import cv2
import numpy as np

from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.dataset_tables import DATASET_BOXES, DATASET_IMAGES
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.image_views import Entry, check_names
from pipeline.artifacts.resized_tables import RESIZED_BOXES, RESIZED_IMAGES
from pipeline.artifacts.tables import box_columns, boxes_of, read_columns
from pipeline.datasets.interpolation import to_size
from pipeline.datasets.originals import file_of, read_original
from pipeline.datasets.resizing import resized_size, scales_of
from pipeline.params.base import Base
from pipeline.params.resize import ResizeParams
from pipeline.runtime.processes import over_processes
from pipeline.runtime.progress import track
from pipeline.runtime.stage import Stage, run_stage
from pipeline.runtime.words import count_text


@over_processes
def resize(stage: Stage) -> None:
    """Write each image once, a training image once at each scale; mirrors are made at load time, and where no pixels
    are kept all others too."""
    cv2.setNumThreads(stage.params.base.threads)
    source = stage.input("dataset")
    roots = {"raw": stage.linked("raw"), "dataset": source}
    images = read_columns(source / "images.parquet", DATASET_IMAGES)
    all_boxes = ImageRows(source / "boxes.parquet", DATASET_BOXES)
    rows = {str(row[0]): dict(zip(images, row, strict=True)) for row in zip(*images.values(), strict=True)}
    check_names(rows, 2 * len(scales_of(stage.params.resize)))
    with ChunkedWork(stage.out, list(rows), stage.log, share=stage.share) as work:
        shards = work.shards("pixels") if stage.params.resize.keep == "pixels" else None
        image_table = work.table("images.parquet", RESIZED_IMAGES)
        box_table = work.table("boxes.parquet", RESIZED_BOXES)
        for image_id in work.through(track(work.missing, stage.name, len(rows), done=work.found)):
            row = rows[image_id]
            high, wide = int(row["height"]), int(row["width"])
            original = read_original(file_of(str(row["file"]), roots), wide, high) if shards else None
            boxes = all_boxes[image_id, 0]
            flags = {name: boxes[name] for name in ("label", "difficult", "iscrowd")}
            sides = scales_of(stage.params.resize) if row["split"] == "train" else [stage.params.resize]
            for scale, params in enumerate(sides):
                entry = Entry(image_id, 2 * scale)
                height, width = size = resized_size(high, wide, params)
                scale_x, scale_y = width / wide, height / high
                pixels = {} if original is None else {entry.name: to_size(original, size)}
                image_table.write(
                    {
                        **entry.columns,
                        "split": row["split"],
                        "width": width,
                        "height": height,
                        "original_width": wide,
                        "original_height": high,
                        "scale_x": scale_x,
                        "scale_y": scale_y,
                        "shard": shards.add(pixels) if shards else "",
                    }
                )
                scaled = boxes_of(boxes) * np.array([scale_x, scale_y, scale_x, scale_y], dtype=np.float32)
                box_table.write({**entry.columns, **box_columns(scaled), **flags})
        shutil.copyfile(source / "classes.json", stage.out / "classes.json")
    stage.log(count_text(len(rows), "image"))


if __name__ == "__main__":
    run_stage(
        resize,
        about=__doc__,
        sections={
            "base": Base,
            "resize": ResizeParams,
        },
        inputs={"dataset": "folder of the dataset stage", "raw": "linked data root (data/raw)"},
        resumable=True,
    )
