"""Pascal VOC from its server, by torchvision's addresses and checksums, for machines with internet.

Nothing half-fetched is ever visible: an archive gets its name when its checksum fits, a tree when all its archives are
unpacked. What is whole is not fetched again.
"""

from __future__ import annotations

import http.client
import shlex
import shutil
import socket
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.atomic import atomic_file, atomic_folder
from pipeline.runtime.errors import InputError, is_disk_full

_SILENCE = 60  # s that a server may say nothing


@dataclass(frozen=True)
class _Tree:
    """One VOC tree: torchvision's names of its archives, and the lists of `ImageSets/Main` that it then has."""

    archives: tuple[str, ...]
    lists: tuple[str, ...]


_TREES = {
    "VOC2007": _Tree(("2007", "2007-test"), ("trainval", "test")),
    "VOC2012": _Tree(("2012",), ("trainval", "train", "val")),  # the annotations of its test images are not published
}
_DATA_SETS = {"voc2007": ("VOC2007",), "voc2012": ("VOC2012",), "voc0712": ("VOC2007", "VOC2012")}
_PRESET = {
    "voc2007": ("VOC2007", ()),
    "voc2012": ("VOC2012", ("dataset.voc.train=[train]", "dataset.voc.test=[val]")),
    "voc0712": ("", ("dataset.voc.train=[VOC2007/trainval, VOC2012/trainval]", "dataset.voc.test=[VOC2007/test]")),
}


def fetch_voc(name: str, to: Path, log: Callable[[str], None] = lambda line: None) -> str:
    """Fetch and unpack what is not there yet.

    Args:
        name: voc2007, voc2012, or voc0712 for both.
        to: folder for `archives` and the trees `VOCdevkit/VOC2007` and `VOCdevkit/VOC2012`.
        log: gets one line per tree and per archive.

    Returns:
        The command that trains on it.

    Raises:
        InputError: no such data set, a folder in the way, no connection, a wrong checksum, or a full disk.
    """
    if name not in _DATA_SETS:
        raise InputError(f"no data set {name!r}; there are {', '.join(_DATA_SETS)}")
    to = Path(to).expanduser().resolve()
    try:
        for tree in _DATA_SETS[name]:
            _fetch_tree(to, tree, log)
    except OSError as error:
        if is_disk_full(error):
            raise InputError(f"{to}: disk full; free space and run again, whole archives are kept") from error
        raise InputError(
            f"{error.filename or to}: {error.strerror or error}; give --to a folder that can be written"
        ) from error
    place, settings = _PRESET[name]
    return shlex.join(["frcnn", "preset", "voc07_vgg16", f"dataset.root={to / 'VOCdevkit' / place}", *settings])


def _fetch_tree(to: Path, name: str, log: Callable[[str], None]) -> None:
    from torchvision.datasets.utils import extract_archive
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    final, tree = to / "VOCdevkit" / name, _TREES[name]
    missing = [part for part in tree.lists if not (final / "ImageSets" / "Main" / f"{part}.txt").is_file()]
    if not missing:
        log(f"{final}: is there already")
        return
    if final.exists():
        raise InputError(f"{final}: has no ImageSets/Main/{missing[0]}.txt; move the folder away and run again")
    archives = [
        _fetch_archive(to / "archives" / entry["filename"], entry["url"], entry["md5"], log)
        for entry in (DATASET_YEAR_DICT[archive] for archive in tree.archives)
    ]
    with atomic_folder(final) as folder:
        for archive in archives:
            log(f"{archive.name}: unpacking")
            try:
                extract_archive(archive, folder)
            except (tarfile.TarError, EOFError) as error:
                raise InputError(f"{archive}: cannot be unpacked ({error}); delete it and run again") from error
        inner = folder / "VOCdevkit" / name
        if not inner.is_dir():
            raise InputError(f"{archives[0]}: holds no VOCdevkit/{name}; delete it and run again")
        for path in inner.iterdir():
            path.rename(folder / path.name)
        shutil.rmtree(folder / "VOCdevkit")
    log(f"{final}: done; {to / 'archives'} may be deleted")


def _fetch_archive(path: Path, url: str, md5: str, log: Callable[[str], None]) -> Path:
    from torchvision.datasets.utils import check_integrity, download_url

    if check_integrity(path, md5):
        log(f"{path.name}: is there already")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    log(f"{path.name}: fetching {url}")
    remedy = f"run again where {url} can be reached, or put it into {path.parent} by hand"
    with atomic_file(path) as partial, _patience():
        try:
            download_url(url, partial.parent, partial.name, md5)
        except RuntimeError as error:  # torchvision's word for a wrong checksum, or too many redirections
            raise InputError(f"{path.name}: what came is not the archive (its MD5 is not {md5}); {remedy}") from error
        except (OSError, http.client.HTTPException) as error:
            if is_disk_full(error):
                raise
            raise InputError(f"{path.name}: cannot be fetched ({_reason(error)}); {remedy}") from error
    return path


@contextmanager
def _patience() -> Iterator[None]:
    """A server that falls silent is an error after a while."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: BaseException) -> str:
    return " ".join(str(getattr(error, "reason", error)).split())[:200] or type(error).__name__
