"""Losses and curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import vl_convert
from defusedxml import ElementTree

from pipeline.artifacts.history import write_csv
from pipeline.families.faster_rcnn.recall_plots import recall_by_iou, recall_by_number
from pipeline.runtime.errors import InputError
from pipeline.views.colours import CLASSES, COLOURS, GREY
from pipeline.views.csv_columns import read_csv
from pipeline.views.drawing import BLACK
from pipeline.views.encoding import MAX_BYTES, Picture
from pipeline.views.plots import curve_plots, loss_plot

FIRST, SECOND, THIRD, SUM = ((int(c[1:3], 16), int(c[3:5], 16), int(c[5:], 16)) for c in (*COLOURS[:3], GREY))
RECALLS = (recall_by_number, recall_by_iou)


def shows(picture: Picture, colour: tuple[int, int, int]) -> bool:
    pixels = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return bool((pixels == np.array(colour, dtype=np.uint8)).all(axis=2).any())


def width_of(picture: Picture) -> int:
    return int(cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR_RGB).shape[1])


def history(path: Path, *losses: str, rows: int = 20) -> Path:
    write_csv(
        path,
        [
            {"iteration": 10 * (i + 1), "lr": 0.1, "loss": 3.0 / (i + 1), **dict.fromkeys(losses, 1.0 / (i + 1))}
            for i in range(rows)
        ],
    )
    return path


def evaluation(folder: Path, classes: dict[str, float | None]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps({"mAP50": 0.5, "class_AP50": classes}))
    levels = np.linspace(0, 1, 101).tolist()
    curves = [
        {"class": name, "recall": r, "precision": (ap or 0.0) * (r < 0.8)}
        for name, ap in classes.items()
        for r in levels
    ]
    write_csv(folder / "pr_curves.csv", curves)
    write_csv(
        folder / "recall_by_proposals.csv", [{"proposals": n, "recall50": 0.5, "recall70": 0.2} for n in (1, 10, 100)]
    )
    write_csv(folder / "recall_by_iou.csv", [{"iou": i, "recall_of_100": 0.5} for i in (0.5, 0.75, 1.0)])
    return folder


def test_each_loss_has_a_line_of_its_own_colour(tmp_path: Path) -> None:
    picture = loss_plot(history(tmp_path / "history.csv", "rpn_objectness", "rpn_box"))
    assert picture.mime == "image/png" and len(picture.data) <= MAX_BYTES
    assert all(shows(picture, colour) for colour in (SUM, FIRST, SECOND))
    assert not shows(picture, THIRD)
    assert "3 at first" in picture.caption and "0.15 after 200 iterations" in picture.caption


def test_lines_lie_at_the_height_of_their_losses(tmp_path: Path) -> None:
    write_csv(tmp_path / "history.csv", [{"iteration": i, "lr": 0.1, "loss": 3.0, "a": 1.0} for i in range(1, 30)])
    picture = loss_plot(tmp_path / "history.csv")
    pixels = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR_RGB)
    column = pixels[:, round(0.9 * pixels.shape[1])].astype(int)
    dark = np.flatnonzero((column == BLACK).all(axis=1))
    zero = dark[0]  # the axis
    total = np.flatnonzero((column[:zero] == SUM).all(axis=1)).mean()
    part = np.flatnonzero((column[:zero] == FIRST).all(axis=1)).mean()
    assert zero - total == pytest.approx(3 * (zero - part), abs=3)


@pytest.mark.parametrize("rows", [1, 2])
def test_short_history_is_drawn(tmp_path: Path, rows: int) -> None:
    assert shows(loss_plot(history(tmp_path / "history.csv", "rpn_box", rows=rows)), FIRST)


def test_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    path = history(tmp_path / "history.csv", "rpn_box")
    assert loss_plot(path) == loss_plot(path)
    folder = evaluation(tmp_path / "evaluate", {"ellipse": 0.5})
    assert curve_plots(folder, RECALLS) == curve_plots(folder, RECALLS)
    assert b"matplotlib" not in loss_plot(path).data.lower()


def test_recall_of_the_proposals_stands_beside_precision_where_a_family_has_proposals(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "evaluate", {"ellipse": 0.5})
    both = curve_plots(folder, RECALLS)
    for name in ("proposals", "iou"):
        (folder / f"recall_by_{name}.csv").unlink()
    alone = curve_plots(folder)
    assert width_of(both) > 2 * width_of(alone)
    assert "mAP at IoU .5 0.500" in alone.caption and alone.caption == both.caption


def test_class_without_gt_boxes_has_no_curve_and_the_others_keep_their_colours(tmp_path: Path) -> None:
    both = curve_plots(evaluation(tmp_path / "both", {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}))
    assert [shows(both, colour) for colour in CLASSES[:5]] == [True, True, True, True, False]
    one = curve_plots(evaluation(tmp_path / "one", {"a": 0.9, "b": None, "c": 0.7, "d": 0.6}))
    assert [shows(one, colour) for colour in CLASSES[:5]] == [True, False, True, True, False]
    assert "mAP at IoU .5 0.500" in one.caption


@pytest.mark.parametrize("classes", [0, 1, 10, 80])
def test_any_number_of_classes_can_be_drawn(tmp_path: Path, classes: int) -> None:
    scores: dict[str, float | None] = {f"class {i}": i / 100 for i in range(classes)} or {"none": None}
    picture = curve_plots(evaluation(tmp_path / "evaluate", scores))
    assert len(picture.data) <= MAX_BYTES
    # The colours repeat, with other dashes; of more classes than can be told apart the mean is drawn.
    assert all(shows(picture, colour) for colour in CLASSES) == (classes == 10)


@pytest.mark.parametrize("file", ["metrics.json", "pr_curves.csv", "recall_by_proposals.csv", "recall_by_iou.csv"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"a,b\n1,2\n", b"\xff\xfe"])
def test_bad_file_is_told(tmp_path: Path, file: str, content: bytes | None) -> None:
    folder = evaluation(tmp_path / "evaluate_step4", {"ellipse": 0.5})
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(InputError, match=rf"{file}: .*dvc repro evaluate_step4"):
        curve_plots(folder, RECALLS)


ODD_NAMES = ["$1 $x$", "a.b[0]", "_x", "1", "nan", "a\\$b", "^{", "\U0001f600", "<b>"]


def test_any_name_of_a_class_is_drawn_letter_by_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, drawn, draw = [*ODD_NAMES, "x" * 200], [], vl_convert.vegalite_to_png

    def noted(spec: Any, **options: Any) -> bytes:
        drawn.append(spec)
        return draw(spec, **options)

    monkeypatch.setattr(vl_convert, "vegalite_to_png", noted)
    folder = evaluation(tmp_path, dict.fromkeys(names, 0.5))
    assert read_csv(folder / "pr_curves.csv")["class"].tolist()[::101] == names
    assert len(curve_plots(folder).data) <= MAX_BYTES
    svg = ElementTree.fromstring(vl_convert.vegalite_to_svg(drawn[0]))
    texts = [element.text for element in svg.iter() if element.tag.endswith("text")]
    assert set(texts) >= {f"AP 0.50 {name}" for name in ODD_NAMES}
    assert any(text and text.startswith("AP 0.50 xxx") and text.endswith("\u2026") for text in texts)


def test_names_of_classes_are_read_as_texts_and_numbers_as_numbers(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [{"class": "1", "actual": "2.0", "predicted": "nan", "recall": 0.5}])
    columns = read_csv(tmp_path / "a.csv")
    assert [columns[name].tolist() for name in ("class", "actual", "predicted")] == [["1"], ["2.0"], ["nan"]]
    assert columns["recall"].dtype == np.float64
