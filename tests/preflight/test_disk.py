"""The disk that check-data says stages will take is what their files take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import MapWriter
from pipeline.building.layout import frozen_maps, map_layout
from pipeline.building.trunk import new_trunk
from pipeline.families.faster_rcnn.check_data import CHECKS
from pipeline.families.faster_rcnn_joint.check_data import CHECKS as CHECKS_JOINT
from pipeline.geometry.backbones import FROZEN_MAPS, LAYOUTS
from pipeline.params.file import check_params
from pipeline.params.reading import Params
from pipeline.preflight.collecting import Checked, DatasetBoxes
from pipeline.preflight.disk import disk_lines, stored_bytes
from tests.defaults import default_content

NONE, FPN, P3_P7 = {"name": "none"}, {"name": "fpn", "channels": 8}, {"name": "fpn_p3_p7", "channels": 8}
SSD = {"name": "ssd_tiny"}


def params_of(backbone: dict[str, object], neck: dict[str, object], **sections: dict[str, object]) -> Params:
    content = default_content()
    content["backbone"] |= {"weights": "random", **backbone}
    content["backbone"]["neck"] |= neck
    for name, values in sections.items():
        content[name] |= values
    return Params(check_params(content, "params.yaml"), "faster_rcnn")


@pytest.mark.parametrize(
    ("name", "neck", "others"),
    [
        ("tiny", NONE, {}),
        ("tiny", NONE, {"ceil_pool": True}),
        ("tiny", SSD, {"ceil_pool": True}),
        ("resnet18", NONE, {"size_divisible": 32}),
        ("resnet18", FPN, {}),
        ("resnet34", P3_P7, {"size_divisible": 32}),
    ],
)
@pytest.mark.parametrize("frozen", [0, 1, 2, 3, 4, 5, "all"])
def test_maps_of_frozen_stages_are_those_of_the_trunks(
    name: str, neck: dict[str, object], others: dict[str, object], frozen: int | str
) -> None:
    content = default_content()["backbone"] | {"name": name, "weights": "random", "frozen_stages": frozen, **others}
    content["neck"] |= neck
    backbone = params_of({"weights": "random"}, NONE).backbone.model_validate(content)
    levels, layout = frozen_maps(backbone), map_layout(backbone)
    with torch.device("meta"):  # no weights are drawn
        trunk = new_trunk(backbone).eval()
    maps = trunk.to_empty(device="cpu").frozen(torch.zeros(1, 3, 75, 131))
    if not levels:
        assert frozen == 0 and maps[0].shape[1] == 3
        return
    sides = layout.padded(np.array([75, 131]))
    assert [tuple(own.shape[1:]) for own in maps] == [
        (level.channels, *(int(side) for side in level.cells(sides))) for level in levels
    ]
    assert layout.values(75, 131, levels) == sum(own.numel() for own in maps)


def test_every_backbone_says_its_frozen_maps() -> None:
    assert FROZEN_MAPS.keys() == LAYOUTS.keys()


def checked(sizes: dict[tuple[str, int, int], int], extra: Sequence[tuple[int, int]] = ()) -> Checked:
    none = DatasetBoxes(
        np.zeros((0, 4), np.float32), np.zeros((0, 2), np.int32), *(np.zeros(0, np.int8),) * 2, np.zeros(0, bool)
    )  # type: ignore[arg-type]
    return Checked(
        ("cat",),
        {},  # type: ignore[arg-type]
        {},  # type: ignore[arg-type]
        none,
        [],
        {},
        {},  # type: ignore[arg-type]
        [],
        [],
        True,
        sizes=sizes,  # type: ignore[arg-type]
        extra_sizes={(True, *size): 1 for size in extra},
    )


SIZES = {("train", 150, 260): 3, ("train", 96, 96): 2, ("test", 150, 200): 4}


@pytest.mark.parametrize("neck", [NONE, FPN])
def test_bytes_are_those_of_the_files(tmp_path: Path, neck: dict[str, object]) -> None:
    own = params_of(
        {"name": "resnet18", "frozen_stages": 2, "size_divisible": 32},
        neck,
        features={"dtype": "float32"},
        rpn={"images_without_gt": "background"},
    )
    told = stored_bytes(checked(SIZES), own, CHECKS.maps(own))
    assert told.keys() == {"resize", "features"}
    layout = map_layout(own.backbone)
    ids = [f"image {index}" for index in range(5)]
    with ChunkedWork(tmp_path / "out", ids) as work:
        writer = MapWriter(work, "maps", len(layout.levels))
        of_train = [key[1:] for key, count in SIZES.items() if key[0] == "train" for _ in range(count)]
        for name, size in work.through(zip(ids, of_train, strict=True)):
            cells = zip(layout.levels, layout.sizes(*size), strict=True)
            maps = [np.zeros((level.channels, *own), np.float32) for level, own in cells]
            writer.add({Entry(name, view): maps for view in (0, 1)}, size)
    written = sum(path.stat().st_size for path in (tmp_path / "out").glob("*.npz"))
    assert written == pytest.approx(told["features"], rel=0.01)
    pixels = 3 * (3 * 150 * 260 + 2 * 96 * 96 + 4 * 150 * 200)
    assert pixels < told["resize"] < 1.01 * pixels


def test_what_is_not_kept_takes_nothing_and_views_count() -> None:
    backbone: dict[str, object] = {"name": "resnet18", "frozen_stages": "all", "size_divisible": 32}

    def told(**features: object) -> dict[str, int]:
        own = params_of(backbone, FPN, features={"keep": "none", **features})
        return stored_bytes(checked(SIZES), own, CHECKS.maps(own))

    assert told().keys() == {"resize"}
    frozen = told(keep_frozen_stages=True)
    assert frozen.keys() == {"resize", "frozen_features"}
    assert told(keep_frozen_stages=True, dtype="float32")["frozen_features"] > 1.9 * frozen["frozen_features"]
    own = params_of(backbone, FPN, features={"keep": "maps", "keep_frozen_stages": True}, base={"mirror": False})
    plain = stored_bytes(checked(SIZES), own, CHECKS.maps(own))
    assert 2 * plain["frozen_features"] == frozen["frozen_features"] and "features" in plain
    assert CHECKS_JOINT.maps(own).keys() == {"frozen_features"}  # its graph has no stage features
    more = stored_bytes(checked(SIZES, extra=[(96, 96)]), own, CHECKS.maps(own))
    once = stored_bytes(checked({("train", 96, 96): 1}), own, CHECKS.maps(own))
    assert more == {stage: size + once[stage] for stage, size in plain.items()}


def test_lines_say_where_the_disk_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(disk_lines(tmp_path, {})) == []
    free = 5_000_000
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": free}))
    said = list(disk_lines(tmp_path, {"resize": 1_500_000, "features": 3_400_000}))
    assert said[1:] == [
        "disk, for pixels and maps alone; twice as much where DVC's cache copies what it keeps",
        "  resize    1.5 MB",
        "  features  3.4 MB",
    ]
    free = 4_000_000
    assert list(disk_lines(tmp_path, {"resize": 1_500_000, "features": 3_400_000}))[4:] == [
        "  4.9 MB in all, and 4 MB are free here: make room, set a smaller resize.shorter_side, or store less "
        "(docs/scaling.md)"
    ]
