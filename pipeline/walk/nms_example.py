"""NMS of five boxes, round by round, by the IoU and by the rule of some tutorials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.nn.operators import nms
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import ORANGE, SKY_BLUE, BoxLayer, Colour, Dash, draw_boxes
from pipeline.walk import by_hand
from pipeline.walk.checking import same

BOXES = (
    (100, 200, 350, 300),
    (100, 200, 400, 500),
    (100, 200, 300, 800),
    (1000, 100, 1150, 600),
    (1000, 100, 1200, 700),
)
SCORES = (0.6, 0.7, 0.9, 0.7, 0.8)
THRESHOLD = 0.3


@dataclass(frozen=True)
class Example:
    """Boxes and scores, and the rounds of both rules; boxes are counted from 1."""

    rows: list[tuple[int, by_hand.Box, float]]
    threshold: float
    by_iou: list[by_hand.NmsStep]
    by_share: list[by_hand.NmsStep]

    @property
    def kept(self) -> list[int]:
        """The survivors by the IoU, best first."""
        return [step.kept for step in self.by_iou]

    @property
    def kept_by_share(self) -> list[int]:
        """Those by the share of the other box."""
        return [step.kept for step in self.by_share]


def nms_example() -> Example:
    """Run both rules; that of the IoU must agree with the compiled NMS."""
    by_iou = by_hand.nms(BOXES, SCORES, THRESHOLD)
    compiled = nms(torch.tensor(BOXES, dtype=torch.float32), torch.tensor(SCORES), THRESHOLD).tolist()
    same("NMS", [step.kept for step in by_iou], compiled)
    rows: list[tuple[int, by_hand.Box, float]] = [
        (index + 1, box, score) for index, (box, score) in enumerate(zip(BOXES, SCORES, strict=True))
    ]
    return Example(rows, THRESHOLD, by_iou, by_hand.nms(BOXES, SCORES, THRESHOLD, by_hand.share_of_other))


def nms_pictures(example: Example, side: int) -> list[Tile]:
    """The five boxes, and which of them stay."""
    boxes = np.array(BOXES, np.float32)
    low, high = boxes[:, :2].min(axis=0) - 60, boxes[:, 2:].max(axis=0) + 60
    width, height = (int(value) for value in high - low)
    paper = np.full((height, width, 3), 60, np.uint8)
    every = list(range(len(BOXES)))
    dropped = [row for row in every if row not in example.kept]

    def layer(rows: list[int], colour: Colour, dash: Dash = "solid") -> BoxLayer:
        return BoxLayer(
            boxes[rows] - np.tile(low, 2), colour, [f"{row + 1}: {SCORES[row]:g}" for row in rows], dash=dash
        )

    after = [layer(dropped, SKY_BLUE, "dashed"), layer(example.kept, ORANGE)]
    return [
        Tile(
            draw_boxes(paper, [layer(every, SKY_BLUE)], side),
            "before NMS",
            [Key(SKY_BLUE, "box: score", "solid")],
        ),
        Tile(
            draw_boxes(paper, after, side),
            f"after NMS at {example.threshold:g}",
            [Key(ORANGE, "kept", "solid"), Key(SKY_BLUE, "dropped", "dashed")],
        ),
    ]
