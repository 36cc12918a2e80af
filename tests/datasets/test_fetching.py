"""`frcnn fetch-data` against a server on this machine: whole, resumed, wrong, interrupted, offline."""

from __future__ import annotations

import errno
import hashlib
import io
import shlex
import socket
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torchvision.datasets.utils as downloads
from torchvision.datasets.voc import DATASET_YEAR_DICT
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.datasets.fetching import fetch_voc
from pipeline.datasets.voc import read_voc
from pipeline.params.file import load_params
from pipeline.presets.apply import apply_preset
from pipeline.runtime.errors import InputError
from tests.defaults import copy_graphs
from tests.faults.trees import XML

ARCHIVES = {
    "2007": ("VOC2007", {"trainval": ["000005"]}),
    "2007-test": ("VOC2007", {"test": ["000001"]}),
    "2012": ("VOC2012", {"trainval": ["2008_1", "2008_2"], "train": ["2008_1"], "val": ["2008_2"]}),
}


def packed(tree: str, lists: dict[str, list[str]]) -> bytes:
    files = {f"ImageSets/Main/{name}.txt": "\n".join(images) + "\n" for name, images in lists.items()}
    files |= {f"Annotations/{image}.xml": XML for images in lists.values() for image in images}
    files |= {f"JPEGImages/{image}.jpg": "pixels" for images in lists.values() for image in images}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"VOCdevkit/{tree}/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


@dataclass
class Server:
    """A server of archives. `asked` are the paths that were asked for, and `folder` holds the files."""

    folder: Path
    asked: list[str] = field(default_factory=list)

    def files(self) -> set[str]:
        return {path.rpartition("/")[2] for path in self.asked}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    own = Server(tmp_path / "served")
    own.folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            own.asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=own.folder)) as listening:
        for name, (tree, lists) in ARCHIVES.items():
            file = DATASET_YEAR_DICT[name]["filename"]
            (own.folder / file).write_bytes(packed(tree, lists))
            md5 = hashlib.md5((own.folder / file).read_bytes()).hexdigest()
            entry = {"url": f"http://127.0.0.1:{listening.server_port}/{file}", "filename": file, "md5": md5}
            monkeypatch.setitem(DATASET_YEAR_DICT, name, {**DATASET_YEAR_DICT[name], **entry})
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield own
        listening.shutdown()
        thread.join()


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["voc2007", "voc2012", "voc0712"])
def test_the_printed_command_trains_on_what_was_fetched(name: str, tmp_path: Path, server: Server) -> None:
    result = CliRunner().invoke(app, ["fetch-data", name, "--to", str(tmp_path / "my data")])
    assert result.exit_code == 0, result.output
    verb = shlex.split(result.stdout.splitlines()[-1])
    assert verb[:3] == ["frcnn", "preset", "voc07_vgg16"]
    project = tmp_path / "project"
    (project / "data").mkdir(parents=True)
    copy_graphs(project)
    apply_preset(project, verb[2], verb[3:])
    voc = load_params(project / "params.yaml").dataset.voc
    data = read_voc(project / "data/raw", {"train": voc.train, "test": voc.test}, voc.classes)
    listed = {(record.split, record.image_id) for record in data.records}
    assert (
        listed
        == {
            "voc2007": {("train", "000005"), ("test", "000001")},
            "voc2012": {("train", "2008_1"), ("test", "2008_2")},
            "voc0712": {
                ("train", "VOC2007_000005"),
                ("train", "VOC2012_2008_1"),
                ("train", "VOC2012_2008_2"),
                ("test", "VOC2007_000001"),
            },
        }[name]
    )
    assert not [path for path in everything(tmp_path) if "partial" in path]


def test_what_is_whole_is_not_fetched_again(tmp_path: Path, server: Server) -> None:
    first = fetch_voc("voc2007", tmp_path / "to")
    server.asked.clear()
    assert fetch_voc("voc2007", tmp_path / "to") == first and not server.asked
    fetch_voc("voc0712", tmp_path / "to")
    assert server.files() == {DATASET_YEAR_DICT["2012"]["filename"]}


def test_another_file_than_the_archive_is_refused_and_not_kept(tmp_path: Path, server: Server) -> None:
    file = DATASET_YEAR_DICT["2007-test"]["filename"]
    (server.folder / file).write_bytes((server.folder / file).read_bytes()[:-5])
    with pytest.raises(InputError) as caught:
        fetch_voc("voc2007", tmp_path / "to")
    told = str(caught.value)
    assert told.startswith(f"{file}: what came is not the archive") and "run again where" in told and "\n" not in told
    assert everything(tmp_path / "to") == {f"archives/{DATASET_YEAR_DICT['2007']['filename']}"}


def test_an_archive_that_is_damaged_on_disk_is_fetched_again(tmp_path: Path, server: Server) -> None:
    archive = tmp_path / "to/archives" / DATASET_YEAR_DICT["2012"]["filename"]
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"half of it")
    fetch_voc("voc2012", tmp_path / "to")
    assert archive.read_bytes() == (server.folder / archive.name).read_bytes()


@pytest.mark.parametrize("moment", ["_urlretrieve", "extract_archive"])
def test_an_interruption_leaves_nothing_half_written(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    calls = 0
    whole = getattr(downloads, moment)

    def interrupted(source: Any, target: Any, *rest: Any) -> None:
        nonlocal calls
        calls += 1
        whole(source, target, *rest)
        if calls == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(downloads, moment, interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch_voc("voc2007", tmp_path / "to")
    first, second = (f"archives/{DATASET_YEAR_DICT[name]['filename']}" for name in ("2007", "2007-test"))
    assert everything(tmp_path / "to") == ({first} if moment == "_urlretrieve" else {first, second})
    server.asked.clear()
    fetch_voc("voc2007", tmp_path / "to")
    assert server.files() == ({second.rpartition("/")[2]} if moment == "_urlretrieve" else set())
    assert (tmp_path / "to/VOCdevkit/VOC2007/ImageSets/Main/test.txt").is_file()


def test_offline_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    url = f"http://127.0.0.1:{port}/gone.tar"
    monkeypatch.setitem(DATASET_YEAR_DICT, "2012", {**DATASET_YEAR_DICT["2012"], "url": url})
    with pytest.raises(InputError) as caught:
        fetch_voc("voc2012", tmp_path / "to")
    told = str(caught.value)
    assert "cannot be fetched ([Errno 111] Connection refused); run again where" in told and url in told
    assert "\n" not in told and not everything(tmp_path / "to")


def test_a_file_that_the_server_lost_is_told(tmp_path: Path, server: Server) -> None:
    (server.folder / DATASET_YEAR_DICT["2012"]["filename"]).unlink()
    with pytest.raises(InputError, match=r"2012\.tar: cannot be fetched \(File not found\); run again"):
        fetch_voc("voc2012", tmp_path / "to")


@pytest.mark.parametrize("moment", ["_urlretrieve", "extract_archive"])
def test_a_full_disk_is_told(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads, moment, full)
    with pytest.raises(InputError, match="to: disk full; free space and run again"):
        fetch_voc("voc2012", tmp_path / "to")
    assert not (tmp_path / "to/VOCdevkit/VOC2012").exists()


def test_a_tree_of_someone_else_is_not_touched(tmp_path: Path, server: Server) -> None:
    own = tmp_path / "to/VOCdevkit/VOC2007/ImageSets/Main/trainval.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine\n")
    with pytest.raises(InputError, match=r"VOC2007: has no ImageSets/Main/test\.txt; move the folder away"):
        fetch_voc("voc2007", tmp_path / "to")
    assert everything(tmp_path / "to") == {"VOCdevkit/VOC2007/ImageSets/Main/trainval.txt"} and not server.asked


def test_an_unknown_name_and_an_impossible_folder_are_told(tmp_path: Path, server: Server) -> None:
    with pytest.raises(InputError, match="no data set 'voc2008'; there are voc2007, voc2012, voc0712"):
        fetch_voc("voc2008", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file.*: Not a directory; give --to a folder that can be written"):
        fetch_voc("voc2007", tmp_path / "file")
