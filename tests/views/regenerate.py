"""Write the golden pictures of `frcnn inspect` anew, after a change that is meant: python -m tests.views.regenerate

Look at each before you commit it. They are of tests/views/scene.py alone.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np

from pipeline.views.contact_sheet import contact_sheet
from pipeline.views.declared_graph import read_declared_graph
from pipeline.views.encoding import encode_png
from pipeline.views.panels.entries import entry_of
from pipeline.views.panels.registry import panels_of
from tests.views.scene import write_scene

GOLDEN = Path(__file__).parent / "golden"
SHOWN = {
    "dataset": "a",
    "resize": "c.mirrored",
    "anchor_targets": "a",
    "proposals_step1": "a",
    "proposals_step3": "a.mirrored",
    "proposal_targets_step4": "a",
    "features": "a",
    "detect_step4": "t",
    "evaluate_step4": "t",
}


def sheet(root: Path, stage: str) -> np.ndarray:
    """The panels of a stage of the scene, side by side, at half their size, which is a third of the bytes."""
    command = read_declared_graph(root).commands[stage]
    tiles = panels_of(command, root, entry_of(command, root, SHOWN[stage]))
    drawn = contact_sheet(tiles, 3, title=stage)
    return cv2.resize(drawn, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        scene = write_scene(Path(folder))
        for name in SHOWN:
            data = encode_png(sheet(scene, name), name).data
            (GOLDEN / f"{name}.png").write_bytes(data)
            print(f"{name}: {len(data) / 1000:.0f} kB")
