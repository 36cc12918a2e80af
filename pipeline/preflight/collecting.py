"""Reads and checks a whole data set: its faults, and its boxes as they will be used in training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.artifacts.image_views import check_names
from pipeline.datasets.base import SPLITS, AnnotatedImage, Dataset, Finding, Split
from pipeline.datasets.completeness import shortcomings
from pipeline.datasets.faults import Faults
from pipeline.datasets.originals import read_original
from pipeline.datasets.reading import read_dataset
from pipeline.datasets.resizing import resized_size, scales_of
from pipeline.datasets.root_check import faults_by_kind
from pipeline.params.dataset import DatasetParams, FindingPolicy
from pipeline.params.resize import ResizeParams
from pipeline.runtime.errors import InputError
from pipeline.runtime.progress import track

_GENTLEST = ("keep", "fix", "drop")


@dataclass(frozen=True, eq=False)
class DatasetBoxes:
    """N boxes of a data set, in the order of its images.

    Attributes:
        boxes: (N, 4) float32 xyxy, px of the resized image.
        sizes: (N, 2) int32 H, W of the resized image that each lies in.
        labels: (N,) int16, 1..C-1, or -1 for an ignore region.
        splits: (N,) int8, index into `SPLITS`.
        trainable: (N,) bool: neither difficult nor crowd nor an ignore region, as the paper trains.
    """

    boxes: npt.NDArray[np.float32]
    sizes: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int16]
    splits: npt.NDArray[np.int8]
    trainable: npt.NDArray[np.bool_]

    def of(self, split: Split) -> DatasetBoxes:
        """The trainable boxes of a split."""
        keep = self.trainable & (self.splits == SPLITS.index(split))
        return DatasetBoxes(
            self.boxes[keep], self.sizes[keep], self.labels[keep], self.splits[keep], self.trainable[keep]
        )

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def shapes(self) -> npt.NDArray[np.float64]:
        """(N, 2) widths and heights, px of the resized image; at least .001, which rounding may have taken away."""
        corners = self.boxes.astype(np.float64)
        shapes: npt.NDArray[np.float64] = np.maximum(corners[:, 2:] - corners[:, :2], 1e-3)
        return shapes


@dataclass(frozen=True, eq=False)
class Checked:
    """A data set that was read to its end.

    Attributes:
        classes: names without the background.
        images: images of each split.
        without_objects: of them, those without a trainable box.
        gt: all boxes.
        findings: everything that was found.
        stopping: of each kind whose policy is error, how often it was found; each one would end the `dataset` stage.
        without_boxes: splits that have images but no box to be found, and a line that says why.
        faults: what each file says that cannot be read and that no policy covers; each would end `dataset` or `resize`.
        lacking: what the data set as a whole lacks; each would end the `dataset` stage. Known once all can be read.
        decoded: whether each image was decoded, as `resize` does.
        remarks: lines on what was passed over.
        sizes: images of each split and H, W after resizing, px.
        extra_sizes: the same of train images at `resize.extra_sides`: whether they have a trainable box, and H, W.
    """

    classes: tuple[str, ...]
    images: dict[Split, int]
    without_objects: dict[Split, int]
    gt: DatasetBoxes
    findings: list[Finding]
    stopping: dict[str, int]
    without_boxes: dict[Split, str]
    faults: list[str]
    lacking: list[str]
    decoded: bool
    remarks: Sequence[str] = ()
    sizes: dict[tuple[Split, int, int], int] = field(default_factory=dict)
    extra_sizes: dict[tuple[bool, int, int], int] = field(default_factory=dict)

    @property
    def stops(self) -> int:
        """How many things would end a run."""
        return sum(self.stopping.values()) + len(self.faults) + len(self.lacking)

    def count(self, label: int, split: Split) -> int:
        """Trainable boxes of a class in a split."""
        own = self.gt.trainable & (self.gt.labels == label) & (self.gt.splits == SPLITS.index(split))
        return int(own.sum())


def never_stopping(policy: FindingPolicy) -> FindingPolicy:
    """The policy with the gentlest other action in place of each error, so that one fault does not hide the next."""
    gentle = {
        kind: next(action for action in _GENTLEST if action in policy.allowed(kind))
        for kind, action in policy.model_dump().items()
        if action == "error"
    }
    return policy.model_copy(update=gentle)


def check_dataset(root: Path, params: DatasetParams, resize: ResizeParams, decode: bool = True) -> Checked:
    """Read the data set below `root` to its end, as the stages `dataset` and `resize` do, and keep its boxes.

    Args:
        root: the data root.
        params: section `dataset`.
        resize: section `resize`.
        decode: whether to decode images; else their headers and ends alone are looked at.

    Raises:
        InputError: nothing at all can be read there, and there is one reason for it.
    """
    faults = Faults(keep=True)
    images, without, sizes = Counter[Split](), Counter[Split](), Counter[tuple[Split, int, int]]()
    extra_sizes, ids = Counter[tuple[bool, int, int]](), list[str]()
    dataset, gt = Dataset((), iter(())), _collect(iter(()), resize, images, without, sizes, extra_sizes, ids)
    for clause in faults_by_kind(root):
        with faults.going_on():
            raise InputError(f"{root}: {clause}")
    with faults.going_on():
        dataset = read_dataset(root, params.model_copy(update={"findings": never_stopping(params.findings)}), faults)
        source = track(dataset.images, "check-data", total=0)
        source = _decoded(root, source, faults) if decode else source
        gt = _collect(source, resize, images, without, sizes, extra_sizes, ids)
    with faults.going_on():
        check_names(ids, 2 * len(scales_of(resize)))
    if len(faults.lines) == 1 and not images:
        raise InputError(faults.lines[0])
    # Without classes, which are at fault themselves, every object is of an unknown one.
    findings = [finding for finding in dataset.findings if dataset.classes or finding.kind != "unknown_class"]
    kinds: Counter[str] = Counter()
    for finding in findings:
        kinds[finding.kind] += finding.count
    counts = {split: images[split] for split in SPLITS}
    without_boxes = dataset.without_boxes() if dataset.classes else {}
    lacking = shortcomings(counts, dataset.without_images(), without_boxes, params.reader, str(root))
    return Checked(
        dataset.classes,
        counts,
        {split: without[split] for split in SPLITS},
        gt,
        findings,
        {kind: count for kind, count in kinds.items() if getattr(params.findings, kind) == "error"},
        without_boxes,
        faults.lines,
        [] if faults.lines else [str(shortcoming) for shortcoming in lacking],
        decode,
        dataset.remarks,
        sizes=dict(sizes),
        extra_sizes=dict(extra_sizes),
    )


def _decoded(root: Path, source: Iterator[AnnotatedImage], faults: Faults) -> Iterator[AnnotatedImage]:
    for image in source:
        with faults.going_on():
            read_original(root / image.file.removeprefix("raw/"), image.width, image.height)
        yield image


def _collect(
    source: Iterator[AnnotatedImage],
    resize: ResizeParams,
    images: Counter[Split],
    without: Counter[Split],
    sizes: Counter[tuple[Split, int, int]],
    extra_sizes: Counter[tuple[bool, int, int]],
    ids: list[str],
) -> DatasetBoxes:
    boxes = [np.zeros((0, 4), np.float32)]
    labels, trainable = [np.zeros(0, np.int16)], [np.zeros(0, np.bool_)]
    counts, rows = [0], [(0, 0, 0)]
    for image in source:
        height, width = resized_size(image.height, image.width, resize)
        scale = np.array([width / image.width, height / image.height] * 2, np.float32)
        kept = ~(image.difficult | image.iscrowd | (image.labels < 0))
        images[image.split] += 1
        sizes[image.split, height, width] += 1
        without[image.split] += not kept.any()
        ids.append(image.image_id)
        if image.split == "train":
            more = [resized_size(image.height, image.width, own) for own in scales_of(resize)[1:]]
            extra_sizes.update((bool(kept.any()), *size) for size in more)
        boxes.append(image.boxes * scale)
        labels.append(image.labels)
        trainable.append(kept)
        counts.append(len(kept))
        rows.append((height, width, SPLITS.index(image.split)))
    per_box = np.repeat(np.array(rows, np.int32), counts, axis=0)
    return DatasetBoxes(
        np.concatenate(boxes),
        per_box[:, :2],
        np.concatenate(labels),
        per_box[:, 2].astype(np.int8),
        np.concatenate(trainable),
    )
