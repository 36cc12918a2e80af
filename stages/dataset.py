"""Read or generate the data set: images.parquet, boxes.parquet, classes.json, findings.parquet, metrics.json; split.csv
where `dataset.split` divides the images."""

from __future__ import annotations

import json

from pipeline.artifacts.atomic import write_text
from pipeline.artifacts.dataset_tables import DATASET_BOXES, DATASET_IMAGES
from pipeline.artifacts.findings_table import FINDINGS
from pipeline.artifacts.tables import TableWriter, box_columns, write_table
from pipeline.datasets.base import SPLITS, Dataset
from pipeline.datasets.completeness import shortcomings
from pipeline.datasets.findings import count_findings, summary
from pipeline.datasets.reading import read_dataset
from pipeline.datasets.root_check import check_tree
from pipeline.datasets.shape_drawing import ShapesOptions
from pipeline.datasets.shapes import generate_shapes
from pipeline.datasets.splitting.dividing import split_table
from pipeline.params.base import Base
from pipeline.params.dataset import DatasetParams
from pipeline.runtime.progress import track
from pipeline.runtime.stage import Stage, run_stage
from pipeline.runtime.words import count_text


def dataset(stage: Stage) -> None:
    """Write one row per image and one row per box, in ascending order of image_id."""
    source = _open(stage)
    counts, box_counts = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0)
    with (
        TableWriter(stage.out / "images.parquet", DATASET_IMAGES) as images,
        TableWriter(stage.out / "boxes.parquet", DATASET_BOXES) as boxes,
    ):
        for image in track(source.images, stage.name, total=_expected(stage)):
            counts[image.split] += 1
            box_counts[image.split] += len(image.boxes)
            images.write(
                {
                    "image_id": image.image_id,
                    "split": image.split,
                    "file": image.file,
                    "width": image.width,
                    "height": image.height,
                }
            )
            boxes.write(
                {
                    "image_id": image.image_id,
                    **box_columns(image.boxes),
                    "label": image.labels,
                    "difficult": image.difficult,
                    "iscrowd": image.iscrowd,
                }
            )
    without = source.without_boxes()
    reader, root = stage.params.dataset.reader, str(stage.linked("raw"))
    for shortcoming in shortcomings(counts, source.without_images(), without, reader, root):
        raise shortcoming
    write_text(stage.out / "classes.json", json.dumps(["background", *source.classes], indent=1) + "\n")
    if source.division:
        # Without the reasons: where these alone change, what follows does not rerun.
        write_text(stage.out / "split.csv", split_table(source.division, with_reasons=False))
    columns = ("file", "object", "kind", "detail", "action")
    findings = {name: [getattr(finding, name) for finding in source.findings] for name in columns}
    write_table(stage.out / "findings.parquet", FINDINGS, findings)
    metrics = {
        "images": counts,
        "boxes": box_counts,
        "classes": len(source.classes),
        "findings": count_findings(source.findings),
    }
    write_text(stage.out / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    val = f", {counts['val']} val" if counts["val"] else ""
    stage.log(
        f"{counts['train']} train{val} and {count_text(counts['test'], 'test image')}, "
        f"{count_text(len(source.classes), 'class', 'classes')}, {count_text(len(source.findings), 'finding')}"
    )
    for line in (*source.remarks, *summary(source.findings)):
        stage.log(line)
    for split, line in without.items():
        stage.log(f"{split} has no AP: {line}")


def _open(stage: Stage) -> Dataset:
    params = stage.params.dataset
    if params.reader == "shapes":
        shapes = params.shapes
        options = ShapesOptions(shapes.train, shapes.test, shapes.val, shapes.image_size, shapes.max_objects)
        return generate_shapes(stage.out, options, stage.params.base.seed)
    root = stage.linked("raw")
    check_tree(root)
    return read_dataset(root, params)


def _expected(stage: Stage) -> int:
    params = stage.params.dataset
    return params.shapes.train + params.shapes.val + params.shapes.test if params.reader == "shapes" else 0


if __name__ == "__main__":
    run_stage(
        dataset,
        about=__doc__,
        sections={
            "base": Base,
            "dataset": DatasetParams,
        },
        inputs={"raw": "linked data root (data/raw); may be empty for generated data"},
    )
