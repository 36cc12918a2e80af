"""The block `dataset` of params.yaml: which data set is read, and how its faults are handled."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from pipeline.params.section import Count, Names, Natural, Section

Split = Literal["train", "val", "test"]
Share = Annotated[float, Field(gt=0, lt=1)]


class ShapesData(Section):
    """The generated data set."""

    train: Count
    val: Natural
    test: Count
    image_size: Annotated[int, Field(ge=192)]
    max_objects: Count


class VocData(Section):
    """A tree in Pascal VOC layout under data/raw."""

    train: Names
    val: list[str]
    test: Names
    annotations: str = "Annotations"  # earlier parameters and bundles lack the folders
    images: str = "JPEGImages"
    lists: str = "ImageSets/Main"
    classes: Names | None


class CocoData(Section):
    """COCO instances files under data/raw."""

    train: Names
    val: list[str]
    test: Names
    images: str
    classes: Names | None

    @model_validator(mode="after")
    def _known_placeholders(self) -> CocoData:
        if set(re.findall(r"\{[^}]*\}?|\}", self.images)) - {"{name}", "{folder}", "{above}", "{split}"}:
            raise ValueError("images may hold {name}, {folder}, {above} and {split} and no other braces")
        return self


class KittiData(Section):
    """A tree in KITTI's layout under data/raw."""

    train: Names
    val: list[str]
    test: Names
    folder: str
    classes: Names | None
    merge: dict[str, str]


class YoloData(Section):
    """Images with YOLO's txt labels under data/raw."""

    train: Names
    val: list[str]
    test: Names
    names: str


class TableData(Section):
    """A table of boxes, CSV or Parquet, under data/raw."""

    train: Names
    val: list[str]
    test: Names
    file: str
    boxes: Literal["xyxy", "xywh"]
    classes: Names | None


class ToolData(Section):
    """Files of an annotation tool under data/raw."""

    train: Names = Field(default_factory=lambda: ["./"])
    val: list[str] = Field(default_factory=list)
    test: list[str] = Field(default_factory=list)
    classes: Names | None = None


class SplitData(Section):
    """How the images that `train` lists are divided; val and test null: not, each split has its own list."""

    val: Share | None = None
    test: Share | None = None
    seed: Natural = 0
    group: str | None = None
    near: bool = True

    @property
    def shares(self) -> dict[Split, float]:
        """Of the splits that are given images of train; empty where nothing is divided."""
        shares: dict[Split, float | None] = {"val": self.val, "test": self.test}
        return {split: share for split, share in shares.items() if share is not None}

    @model_validator(mode="after")
    def _can_be_done(self) -> SplitData:
        if sum(self.shares.values()) >= 1:
            raise ValueError("val and test take all images; leave train a share, e.g. val: .1, test: .2")
        try:
            re.compile(self.group or "")
        except re.error as error:
            raise ValueError(f"group {self.group!r} is not a regular expression ({error})") from error
        return self


class FindingPolicy(Section):
    """How each kind of fault in annotations and images is handled.

    error: stop with one line; fix: correct it; drop: leave out the object or the image; keep: accept it, with a
    finding; ignore: make it an ignore region; allow: take it as it is, without a finding.
    """

    non_numeric: Literal["error", "drop"]
    non_finite: Literal["error", "drop"]
    inverted: Literal["error", "fix", "drop"]
    zero_area: Literal["error", "drop"]
    subpixel: Literal["error", "drop", "keep"]
    outside_image: Literal["error", "fix", "drop"]
    duplicate_box: Literal["error", "drop", "keep"]
    duplicate_image_id: Literal["error", "drop"]
    same_image_in_train_and_test: Literal["error", "drop"]
    same_content_in_train_and_test: Literal["error", "drop", "keep", "allow"]
    unknown_class: Literal["error", "drop", "ignore"]
    missing_difficult: Literal["error", "keep", "allow"]
    annotation_without_image: Literal["error", "drop"]
    image_without_annotation: Literal["error", "drop", "keep"]
    no_label_file: Literal["error", "drop", "keep", "allow"] = "keep"  # earlier parameters lack it
    size_differs: Literal["error", "fix", "drop"]
    undecodable: Literal["error", "drop"]
    truncated: Literal["error", "drop"]
    too_large: Literal["error", "drop"]
    exif_orientation: Literal["error", "fix", "drop"]
    mode: Literal["error", "fix", "drop"]
    # Parameters of earlier versions lack the following.
    no_box: Literal["error", "fix", "drop"] = "fix"
    file_name: Literal["error", "fix", "drop"] = "fix"
    scores: Literal["error", "keep", "allow"] = "keep"
    table_form: Literal["error", "fix"] = "fix"
    missing_size: Literal["error", "fix", "drop"] = "fix"
    encoding: Literal["error", "fix", "drop"] = "fix"

    @classmethod
    def allowed(cls, kind: str) -> tuple[str, ...]:
        """The actions that a kind may have."""
        return get_args(cls.model_fields[kind].annotation)


class DatasetParams(Section):
    """The reader, what it reads, and how faults are handled."""

    reader: Literal[
        "shapes", "voc", "coco", "kitti", "yolo", "table", "labelme", "cvat", "label_studio", "vott", "openimages"
    ]
    shapes: ShapesData
    voc: VocData
    coco: CocoData
    kitti: KittiData
    yolo: YoloData
    table: TableData
    # Parameters of earlier versions lack the following.
    labelme: ToolData = ToolData()
    cvat: ToolData = ToolData()
    label_studio: ToolData = ToolData()
    vott: ToolData = ToolData()
    openimages: ToolData = ToolData()
    split: SplitData = SplitData()
    findings: FindingPolicy

    @field_validator("reader", mode="before")
    @classmethod
    def _no_auto(cls, reader: object) -> object:
        if reader == "auto":
            raise ValueError("auto is for frcnn preset and check-data, which find the reader; frcnn preset writes it")
        return reader

    @model_validator(mode="after")
    def _something_to_divide(self) -> DatasetParams:
        if self.reader == "shapes" and self.split.shares:
            raise ValueError("split divides images that are read; of shapes, set shapes.val and shapes.test")
        return self
