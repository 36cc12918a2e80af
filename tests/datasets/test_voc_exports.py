"""VOC as tools of all countries write it: no size, legacy encodings, two forms of accents, folders in lists, scores."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.datasets.base import Dataset
from pipeline.datasets.images import image_size, problems_of
from pipeline.datasets.validation import validate
from pipeline.datasets.voc import read_voc
from pipeline.runtime.errors import InputError
from tests.datasets.policies import policy
from tests.faults.trees import XML

NO_SIZE = re.sub(r"<size>.*</size>", "", XML)
FINDINGS = {"voc_no_size": {"missing_size"}, "voc_list_with_suffix": set[str]()}


def tree(root: Path, xml: str | bytes = XML, name: str = "a", image: str | None = None, listed: str = "") -> Path:
    """A tree of one image of 100 x 80 px for train; the test split is empty."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    pixels = cv2.imencode(".jpg", np.zeros((80, 100, 3), np.uint8))[1].tobytes()
    (root / f"JPEGImages/{image or name}.jpg").write_bytes(pixels)
    (root / f"Annotations/{name}.xml").write_bytes(xml if isinstance(xml, bytes) else xml.encode())
    (root / "ImageSets/Main/train.txt").write_text(listed or name)
    return root


def read(root: Path, train: Sequence[str] = ("train",), folder: str = "", **changes: str) -> Dataset:
    places = {"annotations": folder, "images": folder} if folder else {}
    return validate(read_voc(root, {"train": train}, None, **places), policy(**changes), image_size)


def found(dataset: Dataset) -> list[tuple[str, str]]:
    return [(finding.kind, finding.action) for finding in dataset.findings]


@pytest.mark.parametrize(
    "size", ["", "<size/>", "<size><width>100</width></size>", "<size><width>0</width><height>0</height></size>"]
)
def test_without_a_size_the_images_own_counts(tmp_path: Path, size: str) -> None:
    tree(tmp_path, re.sub(r"<size>.*</size>", size, XML))
    dataset = read(tmp_path)
    (image,) = dataset.images
    assert (image.width, image.height) == (100, 80) and image.boxes.tolist() == [[10, 20, 30, 40]]
    assert found(dataset) == [("missing_size", "the image's own size taken")]
    assert not list(read(tmp_path, missing_size="drop").images)
    with pytest.raises(
        InputError, match=r"a\.xml: no size of the image; write it in <size>, or set dataset\.findings\.m"
    ):
        list(read(tmp_path, missing_size="error").images)


NAMES = {
    "gb2312": "自行车",
    "GBK": "機車",
    "GB18030": "自行车",
    "big5": "機車",
    "Shift_JIS": "自転車",
    "euc-jp": "自転車",
    "EUC-KR": "자전거",
    "windows-1252": "Fußgänger",
    "ISO-8859-1": "chién",
    "KOI8-R": "машина",
    "windows-1251": "машина",
    "utf-16": "машина",
    "UTF-8": "машина",
    "utf8": "машина",
}


@pytest.mark.parametrize("encoding", NAMES)
def test_an_xml_is_read_in_the_encoding_that_it_declares(tmp_path: Path, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n' + XML.replace("dog", NAMES[encoding])
    tree(tmp_path, text.encode(encoding))
    dataset = read(tmp_path)
    assert [len(image.boxes) for image in dataset.images] == [1] and not dataset.findings
    assert dataset.classes == (NAMES[encoding],)


@pytest.mark.parametrize(
    ("declared", "actual", "name", "what"),
    [
        ("utf-16", "utf-8", "машина", "is UTF-8, and not in utf-16 as it says"),
        ("klingon", "utf-8", "машина", "is UTF-8, and not in klingon as it says"),
        ("utf-8", "utf-16", "машина", "is UTF-16, and not in the encoding that it says"),
        ("utf-8", "gbk", "dog", "is not in utf-8 as it says"),
        ("", "gbk", "dog", "is not in UTF-8 and declares no encoding"),
        ("", "cp1252", "dog", "is not in UTF-8 and declares no encoding"),
    ],
)
def test_a_wrong_declaration_is_a_finding(tmp_path: Path, declared: str, actual: str, name: str, what: str) -> None:
    path = "<path>C:\\Bilder\\ä.jpg</path>" if actual == "cp1252" else "<path>C:\\用户\\a.jpg</path>"
    text = XML.replace("<size>", f"{path}<size>").replace("dog", name)
    declaration = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    tree(tmp_path, (declaration + text).encode(actual))
    dataset = read(tmp_path)
    assert [image.boxes.tolist() for image in dataset.images] == [[[10, 20, 30, 40]]] and dataset.classes == (name,)
    assert [(finding.kind, finding.detail) for finding in dataset.findings] == [("encoding", f"the file {what}")]
    with pytest.raises(
        InputError, match=rf"a\.xml: the file {what}; save it as UTF-8, or set dataset\.findings\.encoding"
    ):
        list(read(tmp_path, encoding="error").images)


@pytest.mark.parametrize("declaration", ["", '<?xml version="1.0" encoding="utf-8"?>'])
def test_a_class_name_in_an_unknown_encoding_is_refused(tmp_path: Path, declaration: str) -> None:
    tree(tmp_path, (declaration + XML.replace("dog", "自行车")).encode("gbk"))
    with pytest.raises(
        InputError, match=r"a\.xml: is not in .*, and has class names that are not ASCII; save it as UTF-8"
    ):
        read(tmp_path)


NFC, NFD = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")


@pytest.mark.parametrize("listed", [NFC, NFD])
@pytest.mark.parametrize("image", [NFC, NFD])
@pytest.mark.parametrize("annotation", [NFC, NFD])
def test_accents_in_two_forms_are_one_name(tmp_path: Path, listed: str, image: str, annotation: str) -> None:
    tree(tmp_path, name=annotation, image=image, listed=listed)
    dataset = read(tmp_path)
    (only,) = dataset.images
    assert only.file == f"raw/JPEGImages/{image}.jpg" and len(only.boxes) == 1
    assert found(dataset) == (
        [] if image == annotation == listed else [("file_name", f"read as JPEGImages/{image}.jpg")]
    )


def test_accents_in_two_forms_are_one_name_in_a_folder_too(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    for name, xml in ((NFC, NFD), (NFD + "2", NFC + "2"), ("b", "b"), (NFC + "3", NFC + "3"), (NFD + "3", NFD + "3")):
        (tmp_path / f"t/{name}.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((80, 100, 3), np.uint8))[1].tobytes())
        (tmp_path / f"t/{xml}.xml").write_text(XML)
    dataset = read(tmp_path, ["t/"], ".")
    images = list(dataset.images)
    assert sorted(one.file for one in images) == sorted(
        f"raw/t/{name}.jpg" for name in (NFC, NFD + "2", "b", NFC + "3", NFD + "3")
    )
    assert all(len(one.boxes) == 1 for one in images) and [kind for kind, _ in found(dataset)] == ["file_name"] * 2


@pytest.mark.parametrize("folders", ["JPEGImages/", "JPEGImages\\", ".\\JPEGImages\\", "/home/me/VOC2007/JPEGImages/"])
def test_lists_may_name_the_images_with_their_folder(tmp_path: Path, folders: str) -> None:
    tree(tmp_path)
    tree(tmp_path, name="b", listed=f"{folders}a.jpg\n{folders}b\n")
    dataset = read(tmp_path)
    assert [one.file for one in dataset.images] == ["raw/JPEGImages/a.jpg", "raw/JPEGImages/b.jpg"]
    assert found(dataset) == [("file_name", f"read as JPEGImages/{name}.jpg") for name in "ab"]


@pytest.mark.parametrize("lines", ["x/JPEGImages/a\ny/JPEGImages/a", "../JPEGImages/a", "photos/a", "JPEGImages/a\nb"])
def test_other_folders_in_a_list_are_refused(tmp_path: Path, lines: str) -> None:
    tree(tmp_path, listed=lines)
    with pytest.raises(InputError, match=r"train\.txt: '.*a' is not an image name; write it without folders"):
        read(tmp_path)


@pytest.mark.parametrize("tag", ["score", "confidence"])
def test_scores_are_said_to_be_those_of_detections(tmp_path: Path, tag: str) -> None:
    tree(tmp_path, XML.replace("<name>", f"<{tag}>0.7</{tag}><name>"))
    dataset = read(tmp_path)
    assert len(next(dataset.images).boxes) == 1 and found(dataset) == [("scores", "kept")]
    assert not read(tree(tmp_path, XML.replace("<name>", f"<{tag}>1</{tag}><name>"))).findings


@pytest.mark.parametrize("name", FINDINGS)
def test_files_of_real_users_are_read_as_their_texts_say(shared: Path, name: str) -> None:
    root = shared / "data/trouble" / name
    data = read_voc(root, {"train": ["trainval"], "test": ["test"]}, None)
    dataset = validate(data, policy(), image_size, problems_of)
    images = list(dataset.images)
    for image, stem in zip(images, "ab", strict=True):
        text = (root / f"Annotations/{stem}.xml").read_text()
        corners = [float(re.findall(rf"<{tag}>(.*?)</{tag}>", text)[0]) for tag in ("xmin", "ymin", "xmax", "ymax")]
        assert image.boxes.tolist() == [[corners[0] - 1, corners[1] - 1, *corners[2:]]]
        height, width = cv2.imread(str(root / f"JPEGImages/{stem}.jpg")).shape[:2]
        assert (image.width, image.height) == (width, height)
    assert {finding.kind for finding in dataset.findings} == FINDINGS[name]
