"""params.yaml, read in one place and checked: unknown keys, wrong types and impossible values end in one line.

A stage asks for the sections its command names and is given no other, so that no parameter can change a result without
DVC knowing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import InputError

# The one in C reads params.yaml in a tenth of the time, once for each stage.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Fraction = Annotated[float, Field(ge=0, le=1)]
Overlap = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Names = Annotated[list[str], Field(min_length=1)]
Quadruple = Annotated[list[float], Field(min_length=4, max_length=4)]


def _not_zero(value: int) -> int:
    if value == 0:
        raise ValueError("0 would keep no proposals, -1 keeps all")
    return value


PreNms = Annotated[int, Field(ge=-1), AfterValidator(_not_zero)]


class Section(BaseModel):
    """A block of params.yaml; every key must be known and present."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Base(Section):
    """What every stage shares. Precision and threads change results in the last bits, so they are declared."""

    seed: Natural
    threads: Count
    precision: Literal["float32", "bf16"]
    deterministic: bool
    mirror: bool


class ShapesData(Section):
    """The generated data set."""

    train: Count
    test: Count
    image_size: Annotated[int, Field(ge=192)]
    max_objects: Count


class VocData(Section):
    """A tree in Pascal VOC layout under data/raw."""

    train: Names
    val: list[str]
    test: Names
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
        if set(re.findall(r"\{[^}]*\}?|\}", self.images)) - {"{name}", "{folder}"}:
            raise ValueError("images may hold {name} and {folder} and no other braces")
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


class FindingPolicy(Section):
    """What is done about each kind of fault in the annotations and the images.

    error: stop in one line; fix: mend it; drop: leave the object, or the image, out; keep: take it as it is, with a
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
    unknown_class: Literal["error", "drop", "ignore"]
    missing_difficult: Literal["error", "keep", "allow"]
    annotation_without_image: Literal["error", "drop"]
    image_without_annotation: Literal["error", "drop", "keep"]
    size_differs: Literal["error", "fix", "drop"]
    undecodable: Literal["error", "drop"]
    truncated: Literal["error", "drop"]
    too_large: Literal["error", "drop"]
    exif_orientation: Literal["error", "fix", "drop"]
    mode: Literal["error", "fix", "drop"]

    @classmethod
    def allowed(cls, kind: str) -> tuple[str, ...]:
        """The actions that a kind may have."""
        return get_args(cls.model_fields[kind].annotation)


class DatasetParams(Section):
    """Which reader, what it reads, and what is done about faults."""

    reader: Literal["shapes", "voc", "coco", "kitti", "yolo", "table"]
    shapes: ShapesData
    voc: VocData
    coco: CocoData
    kitti: KittiData
    yolo: YoloData
    table: TableData
    findings: FindingPolicy


class Pretrain(Section):
    """Classification of generated crops: what ImageNet is to VGG16, this is to the tiny trunk."""

    iterations: Count
    images: Count
    crops_per_iteration: Count
    crop_size: Annotated[int, Field(ge=32)]
    lr: Positive


class BackboneParams(Section):
    """The trunk and where its weights come from."""

    name: Literal["vgg16", "tiny"]
    weights: Literal["file", "torchvision", "pretrain", "random"]
    frozen_blocks: Annotated[int, Field(ge=0, le=5)]
    ceil_pool: bool
    pretrain: Pretrain

    @model_validator(mode="after")
    def _pretraining_is_for_the_tiny_trunk(self) -> BackboneParams:
        if self.weights == "pretrain" and self.name != "tiny":
            raise ValueError("weights 'pretrain' exist for the tiny trunk only; use file or torchvision")
        if self.weights == "torchvision" and self.name != "vgg16":
            raise ValueError("weights 'torchvision' exist for vgg16 only; use pretrain, file or random")
        return self


class InitParams(Section):
    """Whether a trained detector, of these classes or of others, gives the first weights."""

    detector: Literal["none", "file"]


class ResizeParams(Section):
    """The paper's rule (shorter side to a length unless the longer would pass its limit) or a fixed size."""

    rule: Literal["shorter_side", "fixed"]
    shorter_side: Count
    longer_side: Count
    fixed_width: Count
    fixed_height: Count


class AnchorParams(Section):
    """Anchors of one location: all ratios (height over width) at all scales of the base size."""

    base_size: Positive
    ratios: Annotated[list[Positive], Field(min_length=1)]
    scales: Annotated[list[Positive], Field(min_length=1)]


class AnchorTargetParams(Section):
    """Which anchors are fg, bg or ignored."""

    fg_iou: Fraction
    bg_iou: Fraction
    allowed_border: float | None
    ignore_ioa: Overlap

    @model_validator(mode="after")
    def _bg_below_fg(self) -> AnchorTargetParams:
        if self.bg_iou > self.fg_iou:
            raise ValueError(f"bg_iou {self.bg_iou} is above fg_iou {self.fg_iou}")
        return self


class RPNParams(Section):
    """The RPN head, its sampling and its loss."""

    channels: Count
    anchors_per_image: Count
    fg_fraction: Fraction
    sigma: Positive
    box_loss_weight: NonNegative
    images_without_gt: Literal["background", "drop"]


class ProposalParams(Section):
    """Proposals for training the RoI head: the RPN's, or those in a file of another codebase."""

    source: Literal["rpn", "file"]
    pre_nms: PreNms
    nms_iou: Fraction
    post_nms: Count
    min_size: NonNegative
    mirrored: Literal["recomputed", "mirrored"]


class ProposalTargetParams(Section):
    """Which proposals are fg or bg, and how their deltas are normalised."""

    fg_iou: Fraction
    bg_iou_high: Fraction
    bg_iou_low: Fraction
    ignore_ioa: Overlap
    normalise: Literal["fixed", "measured"]
    mean: Quadruple
    std: Annotated[list[Positive], Field(min_length=4, max_length=4)]

    @model_validator(mode="after")
    def _ordered(self) -> ProposalTargetParams:
        if not self.bg_iou_low <= self.bg_iou_high <= self.fg_iou:
            raise ValueError("bg_iou_low <= bg_iou_high <= fg_iou must hold")
        return self


class RoIHeadParams(Section):
    """The RoI head, its sampling and its loss."""

    pool: Literal["roi_pool", "roi_align"]
    output_size: Count
    hidden: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    rois_per_image: Count
    fg_fraction: Fraction
    sigma: Positive
    box_loss_weight: NonNegative


class FeatureParams(Section):
    """How feature maps are stored: float16, or float32 to keep them exact."""

    dtype: Literal["float16", "float32"]


class SolverParams(Section):
    """SGD, as all training stages use it."""

    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegative
    bias_lr_factor: Positive
    trunk_lr_factor: Positive
    lr_decay: Literal["drops", "linear"]
    clip_norm: NonNegative
    log_every: Count


class Schedule(Section):
    """How long a training stage runs, and at which learning rate."""

    iterations: Count
    images_per_iteration: Count
    lr: Positive
    lr_drop_at: list[Count]
    lr_drop_factor: Positive
    warmup_iterations: Natural


class RPNStep3(Schedule):
    """Step 3; its RPN head starts fresh or from step 1's."""

    init: Literal["fresh", "step1"]


class HeadStep4(Schedule):
    """Step 4; cls_score and bbox_pred start fresh or from step 2's."""

    init: Literal["fresh", "step2"]


class JointParams(Schedule):
    """Joint training; starts from the four steps' network or from the pre-trained trunk."""

    init: Literal["step4", "imagenet"]
    pre_nms: PreNms
    post_nms: Count


class DetectParams(Section):
    """Test-time proposals and detections; `recall_ranks` proposals are written for the recall curves."""

    pre_nms: PreNms
    proposal_nms_iou: Fraction
    proposals: Count
    recall_ranks: Annotated[int, Field(gt=0, le=2000)]
    min_size: NonNegative
    score_threshold: Fraction
    nms_iou: Fraction
    per_image: Count


class EvaluateParams(Section):
    """Which images are judged, how many of their proposals `proposal_recall50` counts, which detections the errors."""

    split: Literal["val", "test"]
    recall_proposals: Count
    confusion_score: Fraction


class MissingSection(InputError, AttributeError):
    """A stage was run without a section that it needs."""


class Params:
    """The sections a stage was given; asking for another is an error of the stage, not of the user."""

    base: Base
    dataset: DatasetParams
    backbone: BackboneParams
    init: InitParams
    resize: ResizeParams
    anchors: AnchorParams
    anchor_targets: AnchorTargetParams
    rpn: RPNParams
    proposals: ProposalParams
    proposal_targets: ProposalTargetParams
    roi_head: RoIHeadParams
    features: FeatureParams
    solver: SolverParams
    train_rpn_step1: Schedule
    train_head_step2: Schedule
    train_rpn_step3: RPNStep3
    train_head_step4: HeadStep4
    finetune_joint: JointParams
    detect: DetectParams
    evaluate: EvaluateParams

    def __init__(self, sections: dict[str, Section]) -> None:
        self.__dict__.update(sections)

    def sections(self) -> dict[str, Section]:
        """The sections it has, by name."""
        return {name: section for name, section in self.__dict__.items() if isinstance(section, Section)}

    def __getattr__(self, name: str) -> Any:
        raise MissingSection(f"--params lacks section {name!r}; dvc.yaml has the stage's whole command")


SECTIONS: dict[str, type[Section]] = get_type_hints(Params)


def load_params(path: Path, sections: Sequence[str] | None = None) -> Params:
    """Read and check the whole of params.yaml; give out the named sections, or all.

    Raises:
        InputError: the file is missing or no YAML mapping, or a section, key, type or value is wrong.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run in the project's folder") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    checked = check_params(content, path)
    for name in sections or ():
        if name not in SECTIONS:
            raise InputError(f"--params: no section {name!r}; there are {', '.join(SECTIONS)}")
    return Params({name: checked[name] for name in (sections or checked)})


def check_params(content: object, source: Path | str) -> dict[str, Section]:
    """Check a whole parsed params.yaml.

    Raises:
        InputError: naming the first wrong parameter as `section.key`, its value and what is wrong with it.
    """
    if not isinstance(content, dict):
        raise InputError(f"{source}: must hold one block per stage; see the committed params.yaml")
    for name in content:
        if name not in SECTIONS:
            raise InputError(f"{source}: unknown section {name!r}; there are {', '.join(SECTIONS)}")
    checked = {}
    for name, model in SECTIONS.items():
        if name not in content:
            raise InputError(f"{source}: section {name!r} is missing; restore it from the committed params.yaml")
        try:
            checked[name] = model.model_validate(content[name], strict=True)
        except ValidationError as error:
            raise InputError(f"{source}: {_first_fault(name, error)}") from error
    return checked


def _first_fault(section: str, error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join([section, *map(str, fault["loc"])])
    if fault["type"] == "extra_forbidden":
        return f"unknown parameter {where}; docs/parameters.md lists them"
    if fault["type"] == "missing":
        return f"parameter {where} is missing; restore it from the committed params.yaml"
    message = fault["msg"].removeprefix("Value error, ")
    return f"parameter {where}: {message[:1].lower()}{message[1:]}" + (
        "" if isinstance(fault["input"], dict) else f", got {fault['input']!r}"
    )
