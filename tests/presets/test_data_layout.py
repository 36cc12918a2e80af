"""Which reader and splits a preset takes: its own, those that are named, or those of the data root's layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.data_layouts.recognising import recognise
from pipeline.datasets.reading import read_dataset
from pipeline.params.dataset import DatasetParams
from pipeline.params.file import load_params
from pipeline.presets.apply import apply_preset, params_for_data, preset_params
from pipeline.presets.data_layout import layout_settings, without_auto
from pipeline.presets.overlay import parse_value, set_parameter
from pipeline.runtime.errors import InputError
from tests.data_layouts.photos import PHOTOS, coco_json, put, put_photo
from tests.data_layouts.public import PUBLIC
from tests.defaults import copy_graphs, default_params, write_default_params
from tests.in_process import run_frcnn
from tests.presets import odd_trees


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    return folder


def taken(root: Path, name: str, *overrides: str) -> tuple[DatasetParams, str | None]:
    """Section `dataset` as `frcnn preset` would write it, and the line on it."""
    content = {"family": "faster_rcnn", "dataset": preset_params(name).dataset.model_dump()}
    settings, line = layout_settings(content, overrides, root, f"preset {name}")
    values = [override.partition("=") for override in without_auto(overrides)]
    for key, value in (*settings.items(), *((key, parse_value(key, value)) for key, _, value in values)):
        set_parameter(content, key, value)
    return DatasetParams.model_validate(content["dataset"], strict=True), line


def applied(project: Path, name: str, *overrides: str) -> DatasetParams:
    return taken(project.parent / "set", name, *overrides)[0]


def test_a_preset_whose_reader_fits_keeps_its_splits(project: Path) -> None:
    PUBLIC["VOC2007"].write(project.parent / "set")
    own = applied(project, "voc6_vgg16").voc
    assert (own.train, own.val, own.test) == (["train"], [], ["test"])
    taken = applied(project, "default").voc
    assert (taken.train, taken.test) == (["trainval"], ["test"])


def test_a_preset_whose_reader_does_not_fit_takes_the_layout(project: Path) -> None:
    PUBLIC["YOLO of Roboflow"].write(project.parent / "set")
    params = applied(project, "voc6_vgg16")
    assert params.reader == "yolo" and params.yolo.train == ["train/images"]


def test_what_overrides_name_counts(project: Path) -> None:
    root = project.parent / "set"
    PUBLIC["YOLO of Roboflow"].write(root)
    assert applied(project, "default", "dataset.reader=shapes").reader == "shapes"
    own = applied(project, "default", "dataset.reader=yolo", "dataset.yolo.test=[valid/images]")
    assert (own.yolo.train, own.yolo.test) == (["images/train"], ["valid/images"])
    taken = applied(project, "default", "dataset.reader=auto", "dataset.yolo.val=[]")
    assert taken.reader == "yolo" and taken.yolo.val == [] and taken.yolo.test == ["test/images"]
    named = applied(project, "default", "dataset.reader=yolo", "dataset.findings.no_label_file=error")
    assert named.yolo.train == ["train/images"] and named.findings.no_label_file == "error"
    assert applied(project, "default", "dataset.reader=voc").voc.train == ["trainval"]  # none such: check-data says why


def test_a_block_in_one_override_counts_as_its_keys(project: Path) -> None:
    root = project.parent / "set"
    PUBLIC["YOLO of Roboflow"].write(root)
    keys = ["dataset.yolo.train=[valid/images]", "dataset.yolo.test=[test/images]"]
    own = applied(project, "default", "dataset.reader=yolo", *keys)
    block = applied(
        project, "default", "dataset.reader=yolo", "dataset.yolo={train: [valid/images], test: [test/images]}"
    )
    assert block == own and block.yolo.train == ["valid/images"] and block.yolo.val == []
    (root / "data.yaml").write_text("names: [")  # by which nothing would be recognised
    assert applied(project, "voc6_vgg16", "dataset.voc={train: [a], test: [b]}").voc.train == ["a"]


def test_what_is_given_of_coco_is_not_looked_for(project: Path) -> None:
    root = project.parent / "set"
    odd_trees.two_json(root)
    given = [
        "dataset.coco={train: [annotations/instances_default.json]}",
        "dataset.coco.test=[annotations/instances_other.json]",
    ]
    own = applied(project, "default", *given).coco
    assert own.images == "images" and own.train == ["annotations/instances_default.json"]
    assert own.test == ["annotations/instances_other.json"]
    elsewhere = project.parent / "elsewhere"
    odd_trees.images_elsewhere(elsewhere)
    params, _ = taken(elsewhere, "default", "dataset.coco.images=a/b/c", "dataset.split.test=.5")
    assert params.coco.images == "a/b/c" and params.coco.train == ["train.json"]
    with pytest.raises(InputError, match=r"no folder holds the images of train\.json"):
        taken(elsewhere, "default", "dataset.coco.images=a/b", "dataset.split.test=.5")


def test_auto_is_no_reader_of_params_yaml_and_needs_a_root(project: Path) -> None:
    with pytest.raises(
        InputError, match=r"dataset\.reader=auto: finds the reader of a data root; add dataset\.root=PATH"
    ):
        apply_preset(project, "default", ["dataset.reader=auto"])
    write_default_params(project)
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("reader: shapes", "reader: auto"))
    with pytest.raises(InputError, match=r"dataset\.reader: auto is for frcnn preset and check-data, which find the"):
        load_params(project / "params.yaml")


def test_check_data_takes_what_the_preset_would(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    write_default_params(project)
    root = project.parent / "set"
    PUBLIC["COCO of Roboflow"].write(root)
    for preset, settings in (("tinycoco", []), (None, []), (None, ["dataset.reader=auto"])):
        params, line = params_for_data(Path(), preset, settings, root, own=False)
        assert params.dataset.coco == applied(project, "default").coco
        assert line is not None and "COCO with a JSON file a split" in line
    assert params_for_data(Path(), None, [], root, own=True)[0].dataset.reader == "shapes"


def test_a_group_of_all_classes_that_roboflow_adds_is_no_class(project: Path) -> None:
    PUBLIC["COCO of Roboflow"].write(project.parent / "set")
    assert applied(project, "default").coco.classes == ["apple", "pear"]


@pytest.mark.parametrize("name", ["/home/me/set/photos/{}.jpg", "C:\\set\\photos\\{}.jpg", "photos\\{}.jpg"])
def test_images_of_a_json_are_found_by_names_of_other_systems(project: Path, name: str) -> None:
    root = project.parent / "set"
    for photo in PHOTOS:
        put_photo(root / f"photos/{photo.name}.jpg")
    for split, own in (("train", PHOTOS[:2]), ("val", PHOTOS[2:])):
        (root / f"{split}.json").write_text(coco_json(own, name.format), encoding="utf-16")
    defaults = default_params().dataset
    params = recognise(root, defaults).params(defaults)
    files = {image.file for image in read_dataset(root, params).images}
    assert files == {f"raw/photos/{photo.name}.jpg" for photo in PHOTOS}


def test_classes_of_a_labelmap_are_taken_in_its_order(project: Path) -> None:
    PUBLIC["VOC of CVAT"].write(project.parent / "set")
    assert applied(project, "default").voc.classes == ["pear", "apple"]


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "YOLO of Label Studio": (odd_trees.label_studio, ": YOLO without splits has nothing to test on; "),
    "coco128": (odd_trees.coco128, ": YOLO by its coco128.yaml has nothing to test on; "),
    "VOC without lists": (odd_trees.kangaroos, ": VOC without lists of splits has nothing to test on; "),
    "one JSON": (odd_trees.one_json, ": COCO in one JSON file has nothing to test on; "),
    "two JSON": (
        odd_trees.two_json,
        "2 JSON files may be train (annotations/instances_default.json, annotations/instances_other",
    ),
    "images elsewhere": (
        odd_trees.images_elsewhere,
        "no folder holds the images of train.json (a.jpg); name it: dataset.coco.",
    ),
    "YOLO without names": (
        odd_trees.without_names,
        "no file names the classes of the labels of images; write data.yaml",
    ),
    "two kinds": (
        odd_trees.two_kinds,
        "several readers fit: voc (VOC with lists in ImageSets/Main); yolo (YOLO with a folder of",
    ),
    "a folder above": (odd_trees.nested, "datasets/coco8 is YOLO by its coco8.yaml: give dataset.root="),
    "photos alone": (
        odd_trees.photos,
        "no reader fits what is there (2 images, 1 .docx file); docs/data.md shows the layouts",
    ),
    "another table": (odd_trees.csv, "no reader fits: boxes.csv has no column class, file, x1, y1, x2, y2"),
    "settings no YAML": (
        odd_trees.spoilt("YOLO of Roboflow", "data.yaml", "names: ["),
        "no reader fits: data.yaml: not valid YAML",
    ),
    "settings of another place": (
        odd_trees.declared_elsewhere,
        "data.yaml: no images are where its train says (../else)",
    ),
    "labels elsewhere": (
        odd_trees.labels_elsewhere,
        "would be YOLO by its coco8.yaml, but labels/train/a.txt: no such annotation",
    ),
    "no JSON": (
        odd_trees.spoilt("COCO of Roboflow", "*.json", "{"),
        "no reader fits: test/_annotations.coco.json: not valid JSON",
    ),
    "VOC without objects": (
        odd_trees.spoilt("VOC of Roboflow", "*.xml", "<annotation></annotation>"),
        "would be VOC with a folder a split, but ",
    ),
    "VOC with a link as text": (
        odd_trees.voc_link_as_text,
        "Annotations holds annotations, but JPEGImages is a file, not the folder of their images; put them into JPEGI",
    ),
    "VOC without images": (
        odd_trees.without("VOC of Roboflow", "*.jpg"),
        "would be VOC with a folder a split, but train/a_jpg.rf",
    ),
    "nothing": (lambda root: root.mkdir(), "no data set is linked (the folder is empty)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_one_line_with_what_is_there_and_changes_nothing(name: str, project: Path) -> None:
    write, expected = REFUSED[name]
    write(project.parent / "set")
    with pytest.raises(InputError) as caught:
        applied(project, "default")
    assert expected in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("name", odd_trees.UNDIVIDED)
def test_data_without_splits_are_divided_by_shares(name: str, tmp_path: Path) -> None:
    odd_trees.UNDIVIDED[name](tmp_path)
    params, line = taken(tmp_path, "default", "dataset.split={val: .2, test: .2}")
    assert line is not None and line.endswith("test by dataset.split")
    images = list(read_dataset(tmp_path, params).images)
    assert {split: sum(image.split == split for image in images) for split in ("train", "val", "test")} == {
        "train": 3,
        "val": 1,
        "test": 1,
    }
    assert sum(len(image.boxes) for image in images) == 6


def test_each_command_names_its_own_option_for_data_without_splits(tmp_path: Path) -> None:
    odd_trees.one_json(tmp_path / "set")
    project = tmp_path / "project"
    project.mkdir()
    copy_graphs(project)
    write_default_params(project)
    for words, expected in (
        (["preset", "default", "dataset.root=../set"], "; add 'dataset.split={val: .1, test: .2}', or name its"),
        (["check-data", "../set"], "; add --set 'dataset.split={val: .1, test: .2}', or name its"),
        (
            ["check-data", "../set", "--preset", "tinycoco"],
            "; add --set 'dataset.split={val: .1, test: .2}', or name its",
        ),
        (
            [
                "check-data",
                "../set",
                "--preset",
                "default",
                "--set",
                "dataset.reader=coco",
                "--set",
                "dataset.coco.val=[]",
            ],
            "no such annotation file; correct dataset.coco, or divide the images of train: --set 'dataset.split={val: ",
        ),
        (["split", "../set", "--val", ".2"], "; add --test .2, or name its"),
    ):
        ended = run_frcnn(project, *words)
        assert ended.returncode == 1 and expected in ended.stderr + ended.stdout, words


def test_a_json_file_that_is_not_there_is_told_apart_from_one_that_is_no_json(tmp_path: Path) -> None:
    odd_trees.one_json(tmp_path)
    with pytest.raises(InputError) as caught:
        taken(tmp_path, "default", "dataset.coco.train=[annotations/gone.json]", "dataset.split.test=.2")
    assert "annotations/gone.json: no such annotation file; correct dataset.coco" in str(caught.value)


def test_a_share_of_val_alone_gives_nothing_to_test_on(tmp_path: Path) -> None:
    odd_trees.label_studio(tmp_path)
    with pytest.raises(
        InputError, match=r"nothing to test on; add 'dataset\.split=\{val: \.1, test: \.2\}', or name its"
    ):
        taken(tmp_path, "default", "dataset.split.val=.2")


def test_lists_count_before_folders_and_what_is_divided_before_what_is_not(project: Path) -> None:
    root = project.parent / "set"
    PUBLIC["YOLO of Ultralytics, coco8"].write(root)
    put(root / "train.txt", "/home/me/set/images/train/a.jpg\n")
    defaults = default_params().dataset
    (root / "coco8.yaml").rename(root / "coco8.txt")
    put(root / "classes.txt", "apple\npear\n")
    assert recognise(root, defaults).splits == {"train": ["images/train"], "val": ["images/val"]}
    put(root / "val.txt", "/home/me/set/images/val/e.jpg\n")
    assert recognise(root, defaults).splits == {"train": ["train.txt"], "val": ["val.txt"]}


def test_nothing_is_written_for_data_of_no_layout(project: Path) -> None:
    odd_trees.photos(project.parent / "set")
    copy_graphs(project)
    with pytest.raises(InputError, match="no reader fits"):
        apply_preset(project, "default", [f"dataset.root={project.parent / 'set'}"])
    assert not (project / "params.yaml").exists() and not (project / "data/raw").exists()


def test_several_readers_are_told_apart_by_name(project: Path) -> None:
    odd_trees.two_kinds(project.parent / "set")
    assert applied(project, "default", "dataset.reader=voc").voc.train == ["train"]
    assert applied(project, "default", "dataset.reader=yolo").yolo.test == ["images/test"]
