"""The result for each detection of one image: from an evaluate stage's matches.parquet, or computed again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.matches import MATCHES
from pipeline.artifacts.tables import boxes_of
from pipeline.graphs.command import StageCommand
from pipeline.metrics.error_kinds import judge
from pipeline.metrics.rows import DetectionRows, GtRows
from pipeline.views.panels.request import PanelRequest
from pipeline.views.samples import FlaggedGtBoxes


@dataclass(frozen=True)
class Judged:
    """D detections of an image and its G gt boxes, in px of the resized image.

    Attributes:
        boxes: (D, 4) float32 xyxy, by descending score.
        label: (D,) int64.
        score: (D,) float32, 0..1.
        kind: (D,) str of `pipeline.metrics.error_kinds.KINDS`.
        gt_index: (D,) int64, the gt box that made it so, -1 for none.
        iou: (D,) float, 0..1, with that box.
        gt: all gt boxes.
        source: in words, where the kinds are from.
    """

    boxes: np.ndarray
    label: np.ndarray
    score: np.ndarray
    kind: np.ndarray
    gt_index: np.ndarray
    iou: np.ndarray
    gt: FlaggedGtBoxes
    source: str

    def missed(self, score: float) -> np.ndarray:
        """(G,) bool: boxes to be found that no correct detection of at least this score finds."""
        found = np.zeros(len(self.gt), dtype=bool)
        found[self.gt_index[(self.kind == "correct") & (self.score >= score)]] = True
        missed: np.ndarray = ~found & ~self.gt.ignored
        return missed


def judged_detections(request: PanelRequest) -> Judged:
    """The detections of the requested image, of a stage that detects or of the one that an evaluate stage judged."""
    detects = request.command.module != "evaluate"
    folder = request.folder if detects else request.root / request.command.input("detections")
    evaluate = request.graph.reader_of("evaluate", "detections", request.command.out) if detects else request.command
    rows = ImageRows(folder / "detections.parquet", DETECTIONS)[request.entry]
    limits = request.params.evaluate
    keep = np.flatnonzero(rows["score"] >= limits.score_threshold)[: limits.per_image]  # those that are judged
    rows = {name: values[keep] for name, values in rows.items()}
    scale = request.images.scale(request.entry.image_id)
    gt, original = request.images.gt_of(request.entry), boxes_of(rows)
    label = rows["label"].astype(np.int64)
    stored = _stored(request, evaluate, rows) if evaluate is not None else None
    if stored is not None:
        kind, index, iou, source = stored
    else:
        found = DetectionRows(np.zeros(len(label), np.int64), label, rows["score"].astype(np.float32), original)
        truth = GtRows(np.zeros(len(gt), np.int64), gt.labels, gt.boxes / scale, gt.difficult, gt.iscrowd)
        judgement = judge(found, truth)
        kind, index, iou, source = judgement.kind, judgement.gt, judgement.iou, "judged here"
    return Judged(original * scale, label, rows["score"], kind, index, iou, gt, source)


def _stored(
    request: PanelRequest, evaluate: StageCommand, rows: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str] | None:
    """kind, gt and IoU of each detection from matches.parquet; None where it is absent or of other detections."""
    path = request.root / evaluate.out / "matches.parquet"
    if not path.is_file():
        return None
    matches = ImageRows(path, MATCHES)[request.entry]
    own = {name: values[matches["kind"] != "missed"] for name, values in matches.items()}
    if not np.array_equal(own["score"], rows["score"]) or not np.array_equal(boxes_of(own), boxes_of(rows)):
        return None
    return own["kind"].astype(str), own["gt"].astype(np.int64), own["iou"], f"kinds of {evaluate.stage}"
