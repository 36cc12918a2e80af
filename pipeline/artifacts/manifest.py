"""manifest.json of a stage's folder: every file of it with its size and checksum, so that no damage goes unnoticed.

Shards can be huge. Of them the manifest holds the checksum of the directory at their end, which names every member with
its place, size and CRC; the members themselves are checked one by one when they are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.artifacts.atomic import UNFINISHED, atomic_file
from pipeline.artifacts.weight_parts import HEADER, hash_parts
from pipeline.runtime.errors import InputError

MANIFEST = "manifest.json"

FORMAT = 1
"""To be raised where an older manifest, or what stages write beside tables, can no longer be read."""

_SHARD = ".npz"
# `load_part` compares these when it reads them, so that no large file is read twice for its checksum.
_CHECKED_BY_ITS_READER = ".safetensors"


@dataclass(frozen=True)
class FileRecord:
    """Bytes of a file and the SHA-256 of them from `start` on, which is 0 but for shards; of weights also that of the
    header and of each part, so that a part is checked without the rest."""

    size: int
    start: int
    sha256: str
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The stage that wrote a folder, its files by path below the folder, and what computed them where a processor's
    features decide that."""

    stage: str
    files: Mapping[str, FileRecord]
    kernels: Mapping[str, str] = field(default_factory=dict)


def write_manifest(folder: Path, stage: str, kernels: Mapping[str, str] | None = None) -> None:
    """Write the manifest of a finished folder; equal files and `kernels` give equal bytes."""
    folder = Path(folder)
    (folder / MANIFEST).unlink(missing_ok=True)
    files = {}
    for name, size in _sizes(folder).items():
        path = folder / name
        start = _directory_start(path) if path.suffix == _SHARD else 0
        files[name] = FileRecord(size, start, _sha256(path, start), _parts_of(path))
    with atomic_file(folder / MANIFEST) as temporary:
        temporary.write_bytes(_to_bytes(Manifest(stage, files, kernels or {})))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder, None where it has none.

    Raises:
        InputError: it is damaged, or of another format.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.exists():
        return None
    content = path.read_bytes()
    rerun = _remedy(folder.name)
    try:
        parsed = json.loads(content)
        version = parsed["format"]
        records = parsed["files"].items() if version == FORMAT else ()
        files = {name: FileRecord(*record.values()) for name, record in records}
        manifest = Manifest(parsed["stage"], files, dict(parsed.get("kernels", {})))
        sound = version != FORMAT or _to_bytes(manifest) == content
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise InputError(f"{path}: is damaged; {rerun}")
    if version != FORMAT:
        raise InputError(f"{path}: is of format {version!r:.20}, this code reads {FORMAT}; {rerun}")
    return manifest


def writer_of(folder: Path) -> str:
    """The stage that wrote a folder.

    Raises:
        InputError: its manifest is missing, damaged or of another format.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(f"{folder / MANIFEST}: is missing; {_remedy(folder.name)}")
    return manifest.stage


def check_folder(folder: Path) -> Manifest:
    """Check that a folder is as a stage left it: its list of files, their sizes, and the checksums of all but weights,
    whose reader compares them, and members of shards, whose reader does.

    Raises:
        InputError: the first file that differs, and the stage to run again.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(
            f"{folder}: has no {MANIFEST}, so it is not what a stage of this version wrote; {_remedy(folder.name)}"
        )
    rerun = _remedy(manifest.stage)
    sizes = _sizes(folder)
    for name in sorted({*sizes, *manifest.files} - {MANIFEST}):
        path = folder / name
        if name not in sizes:
            raise InputError(f"{path}: is missing; {rerun}")
        if name not in manifest.files:
            raise InputError(f"{path}: is not of the stage's output; remove it or {rerun}")
        size = manifest.files[name].size
        if sizes[name] != size:
            how = "cut off" if sizes[name] < size else "too long"
            raise InputError(f"{path}: is {how}, it has {sizes[name]} of {size} bytes; {rerun}")
    for name in manifest.files:
        if not name.endswith(_CHECKED_BY_ITS_READER):
            _check(folder / name, manifest.files[name], rerun)
    return manifest


def check_file(path: Path, part: str | None = None) -> None:
    """Check a file of a stage's folder; where the folder has no manifest, there is nothing to check it by.

    Args:
        part: of a file of weights, which is then read no further than its header and this part.

    Raises:
        InputError: it differs, or the manifest does not list it.
    """
    path = Path(path)
    manifest = read_manifest(path.parent)
    if manifest is None:
        return
    rerun = _remedy(manifest.stage)
    if path.name not in manifest.files:
        raise InputError(f"{path}: is not of the stage's output; {rerun}")
    record = manifest.files[path.name]
    if part is None or not record.parts:  # a version before this one noted no parts
        _check(path, record, rerun)
    elif path.stat().st_size != record.size or not _same_parts(path, record.parts, part):
        raise InputError(f"{path}: is damaged (checksum differs); {rerun}")


def _same_parts(path: Path, noted: Mapping[str, str], part: str) -> bool:
    try:
        found = hash_parts(path, (part,))
    except ValueError:
        return False
    return found == {name: noted[name] for name in (HEADER, part) if name in noted}


def _parts_of(path: Path) -> Mapping[str, str]:
    """The checksums of the parts of weights; none of a file that is not of their format."""
    if path.suffix != _CHECKED_BY_ITS_READER:
        return {}
    try:
        return hash_parts(path)
    except ValueError:
        return {}


def _check(path: Path, record: FileRecord, rerun: str) -> None:
    if path.stat().st_size != record.size or _sha256(path, record.start) != record.sha256:
        raise InputError(f"{path}: is damaged (checksum differs); {rerun}")


def _to_bytes(manifest: Manifest) -> bytes:
    content: dict[str, Any] = {
        "format": FORMAT,
        "stage": manifest.stage,
        "files": {
            name: {"bytes": record.size, "from": record.start, "sha256": record.sha256}
            | ({"parts": dict(sorted(record.parts.items()))} if record.parts else {})
            for name, record in sorted(manifest.files.items())
        },
    }
    if manifest.kernels:
        content["kernels"] = dict(sorted(manifest.kernels.items()))
    own = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return (json.dumps({**content, "sha256": own}, indent=1) + "\n").encode()


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file of a folder, at whatever depth, but the manifest; links to files are followed."""
    sizes = {}
    for place, folders, names in os.walk(folder):
        # What a run that is cut short resumes from; gone when the folder is published.
        folders[:] = [name for name in folders if name != UNFINISHED]
        for name in names:
            path = Path(place) / name
            with suppress(FileNotFoundError):  # a link into a cache that is gone
                sizes[path.relative_to(folder).as_posix()] = path.stat().st_size
    sizes.pop(MANIFEST, None)
    return dict(sorted(sizes.items()))


def _sha256(path: Path, start: int) -> str:
    with open(path, "rb") as file:
        file.seek(start)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _directory_start(path: Path) -> int:
    """Where the members of a shard end and its directory begins."""
    with zipfile.ZipFile(path) as archive:
        return archive.start_dir


def _remedy(stage: str) -> str:
    return f"rerun the stage that writes it (dvc repro {stage})"
