"""What DVC does not hash below a data root is refused, kind by kind, and what passes is hashed whole."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dvc_data.hashfile.build import build
from dvc_data.hashfile.db import HashFileDB
from dvc_objects.fs.local import LocalFileSystem

from pipeline.datasets.root_check import check_tree, tree_faults
from pipeline.runtime.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.jpg").write_text("a")
    (folder / "sub/b.jpg").write_text("b")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/c.jpg").write_text("c")
    return folder


def hashed(root: Path, tmp_path: Path) -> str:
    """What DVC writes into dvc.lock of a folder."""
    files = LocalFileSystem()
    _, _, tree = build(HashFileDB(files, str(tmp_path / "cache")), str(root), files, "md5", dry_run=True)
    return str(tree.hash_info.value)


def _socket(root: Path) -> None:
    here = os.getcwd()
    os.chdir(root)  # the path of a socket may have 108 bytes only
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s")
    finally:
        os.chdir(here)


def _write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")


FAULTS: dict[str, tuple[Callable[[Path], object], tuple[str, str], str]] = {
    "link to a folder elsewhere": (
        lambda root: (root / "sub/l").symlink_to("../../elsewhere"),
        ("linked_folder", "sub/l"),
        "l (-> ../../elsewhere) is a link to a folder, which DVC does not follow, so that a changed file there ",
    ),
    "absolute link": (
        lambda root: (root / "l").symlink_to(root.parent / "elsewhere"),
        ("linked_folder", "l"),
        "&& cp -al ",
    ),
    "link to another folder of the root": (
        lambda root: (root / "l").symlink_to("sub"),
        ("linked_folder", "l"),
        "put the folder itself in its place",
    ),
    "link by way of a link": (
        lambda root: [(root.parent / "m").symlink_to("elsewhere"), (root / "l").symlink_to("../m")],
        ("linked_folder", "l"),
        "elsewhere",
    ),
    "link to a parent": (lambda root: (root / "sub/up").symlink_to(".."), ("linked_folder", "sub/up"), "in a circle"),
    "link to its own folder": (lambda root: (root / "l").symlink_to("."), ("linked_folder", "l"), "in a circle"),
    "link to the file system's root": (
        lambda root: (root / "l").symlink_to("/"),
        ("linked_folder", "l"),
        "in a circle",
    ),
    "broken link": (
        lambda root: (root / "l").symlink_to("nowhere"),
        ("broken_link", "l"),
        "l (-> nowhere) is a link that",
    ),
    "link to itself": (lambda root: (root / "l").symlink_to("l"), ("broken_link", "l"), "leads nowhere"),
    "pipe": (lambda root: os.mkfifo(root / "f"), ("special", "f"), "waits for ever; remove it"),
    "link to a pipe": (
        lambda root: [os.mkfifo(root.parent / "f"), (root / "l").symlink_to("../f")],
        ("special", "l"),
        "l (-> ../f) is not a file but a pipe",
    ),
    "link to a device": (lambda root: (root / "l").symlink_to("/dev/null"), ("special", "l"), "device"),
    "socket": (_socket, ("special", "s"), "socket"),
    "name in another encoding": (
        lambda root: (root / os.fsdecode(b"\xe9t\xe9.jpg")).touch(),
        ("not_utf8", os.fsdecode(b"\xe9t\xe9.jpg")),
        r"\xe9t\xe9.jpg has a name that is not UTF-8",
    ),
    "folder's name in another encoding": (
        lambda root: (root / "sub" / os.fsdecode(b"\xff")).mkdir(),
        ("not_utf8", os.fsdecode(b"sub/\xff")),
        r"sub/\xff has",
    ),
    ".dvcignore": (lambda root: _write(root / ".dvcignore"), ("dvcignore", ".dvcignore"), "remove or rename it (rm "),
    ".dvcignore below": (
        lambda root: _write(root / "sub/.dvcignore"),
        ("dvcignore", "sub/.dvcignore"),
        "for DVC itself",
    ),
    "DVC project below": (
        lambda root: _write(root / "sub/.dvc/config"),
        ("other_project", "sub"),
        "sub has a .dvc, so that DVC takes it for another project",
    ),
}


@pytest.mark.parametrize(("make", "fault", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_what_dvc_does_not_hash_is_one_line(
    root: Path, make: Callable[[Path], object], fault: tuple[str, str], said: str
) -> None:
    make(root)
    assert [(one.kind, one.path) for one in tree_faults(root)] == [fault]
    with pytest.raises(InputError) as caught:
        check_tree(root)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    str(caught.value).encode()


def test_all_faults_are_told_at_once_the_first_few_named(root: Path) -> None:
    for number in range(8):
        (root / f"l{number}").symlink_to("sub")
    (root / "f").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"l0 .*, l1 .*, l2 \(-> sub\) and 5 more are links to folders") as caught:
        check_tree(root)
    assert "l3" not in str(caught.value) and "; f (-> nowhere) is a link that leads nowhere" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_dvc_hashes_passes(root: Path, tmp_path: Path) -> None:
    (root / "l.jpg").symlink_to("../elsewhere/c.jpg")
    (root / ".dvc").mkdir()  # DVC heeds that of folders below only
    (root / ".git").mkdir()
    os.mkfifo(root / ".git/fsmonitor.ipc")
    (root / "Bild\u202f1\u3000.jpg").touch()
    (root / "a\nb.jpg").touch()
    check_tree(root)
    (tmp_path / "first").symlink_to(root)
    (tmp_path / "second").symlink_to("first")
    check_tree(tmp_path / "second")


def test_a_replaced_photo_is_noticed_through_links_to_it_and_to_the_root_but_not_through_a_linked_folder(
    root: Path, tmp_path: Path
) -> None:
    target = tmp_path / "elsewhere/c.jpg"
    (tmp_path / "middle").symlink_to("elsewhere/c.jpg")
    (root / "l.jpg").symlink_to("../middle")
    (tmp_path / "first").symlink_to("root")
    (tmp_path / "raw").symlink_to("first")
    first = hashed(tmp_path / "raw", tmp_path)
    target.write_text("other")
    second = hashed(tmp_path / "raw", tmp_path)
    (root / "sub/b.jpg").write_text("other")
    third = hashed(tmp_path / "raw", tmp_path)
    assert len({first, second, third}) == 3
    # The reason for refusing one: should DVC ever follow it, the rule may go.
    (root / "folder").symlink_to("../elsewhere")
    assert hashed(tmp_path / "raw", tmp_path) == third


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that any user may enter."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def test_what_one_may_not_read_is_told(open_to_all: Path) -> None:
    for name in ("closed/a.jpg", "open/b.jpg", "open/c.jpg"):
        _write(open_to_all / name)
    (open_to_all / "closed").chmod(0)
    (open_to_all / "open/b.jpg").chmod(0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # a process of a user who is not allowed everything
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            faults = [(one.kind, one.path, one.detail) for one in tree_faults(open_to_all)]
            os.write(writer, json.dumps(faults).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as told:
        faults = json.load(told)
    (open_to_all / "closed").chmod(0o755)
    denied = "Permission denied"
    assert faults == [["unreadable", "closed", denied], ["unreadable", "open/b.jpg", denied]]
