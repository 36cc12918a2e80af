"""Whatever befalls an artifact, the stage that reads it says so in one line and writes nothing, and DVC makes it anew.

Every kind of file that stages write, spoiled in every way, in a copy of the folder that the tiny run left. That a byte
flipped anywhere is told is in tests/artifacts/test_manifest.py.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.artifacts.fields import SCHEMA_VERSION
from pipeline.artifacts.manifest import MANIFEST, check_folder, write_manifest
from pipeline.artifacts.shards import ShardWriter
from pipeline.artifacts.weights import save_parts
from tests.conftest import Project
from tests.fidelity.conftest import files_of
from tests.in_process import Ended, command_of, run_command, words_of


@dataclass(frozen=True)
class Case:
    """A file of a stage's folder, and a stage that reads the folder as one of its options."""

    folder: str
    file: str
    reader: str
    option: str


CASES = {
    "table": Case("detect_step4", "detections.parquet", "evaluate_step4", "detections"),
    "index": Case("resize", "images.parquet", "anchor_targets", "resize"),
    "findings": Case("dataset", "findings.parquet", "evaluate_step4", "dataset"),
    "classes": Case("resize", "classes.json", "proposal_targets_step2", "resize"),
    "normalisation": Case("proposal_targets_step2", "normalisation.json", "train_head_step2", "proposal_targets"),
    "history": Case("train_rpn_step1", "history.csv", "detect_step2", "rpn_trunk"),
    "weights": Case("train_head_step2", "model.safetensors", "detect_step4", "trunk"),
    "pixels": Case("resize", "pixels-00000.npz", "detect_step4", "resize"),
    "maps": Case("features", "maps-00000.npz", "proposals_step3", "features"),
    "objectness": Case("detect_step4", "objectness-00000.npz", "evaluate_step4", "detections"),
    "bg bits": Case("anchor_targets", "bg-00000.npz", "train_rpn_step1", "anchor_targets"),
    "image": Case("dataset", "images/train_00003.png", "resize", "dataset"),
    "manifest": Case("resize", MANIFEST, "anchor_targets", "resize"),
}


def ended(run: Project, folder: Path, name: str, **inputs: Path) -> Ended:
    """How a stage ends, run into `folder`, with folders in place of its inputs."""
    module, options = command_of(run.root, name)
    assert inputs.keys() <= options.keys()
    names = {option: options.pop(option) for option in ("params", "family") if option in options}
    options = {option: str(run.root / path) for option, path in options.items() if option != "out"} | {
        **names,
        "params_file": str(run.root / "params.yaml"),
        "out": str(folder / name),
        **{option: str(path) for option, path in inputs.items()},
    }
    words = [word for option, value in options.items() for word in (f"--{option.replace('_', '-')}", value)]
    return run_command(run.root, module, *words, dvc_root=folder / "no_project")


def told(run: Project, folder: Path, name: str, **inputs: Path) -> str:
    """The line with which a stage failed that was run into `folder`."""
    end = ended(run, folder, name, **inputs)
    assert end.returncode == 1 and not (folder / name).exists() and "Traceback" not in end.stderr
    line = end.stderr.rstrip("\n").splitlines()[-1]
    assert line.startswith(f"{name}: error: ")
    return line.removeprefix(f"{name}: error: ")


def copy_of(run: Project, name: str, parent: Path) -> Path:
    return Path(shutil.copytree(run.data / name, parent / name, symlinks=False))


def a_byte_of(path: Path) -> int:
    """Where to flip: in a member that every reader of pixels and maps comes to, in the directory of other shards, in
    the midst of any other file."""
    if path.suffix != ".npz":
        return path.stat().st_size // 2
    with zipfile.ZipFile(path) as archive:
        if path.name.startswith(("pixels", "maps")):
            return min(info.header_offset for info in archive.infolist()) + 500
        return archive.start_dir + 30


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[a_byte_of(path)] ^= 0x10
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def replace(path: Path) -> None:
    """Put another sound file of the kind in its place."""
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.table({"image_id": ["a"]}), path)
        case ".npz":
            np.savez(path, other=np.zeros(3))
        case ".safetensors":
            save_parts(path.parent, {"other": {"w": torch.zeros(1)}})
        case ".json":
            path.write_text("{}\n")
        case ".csv":
            path.write_text("iteration\n1\n")
        case _:
            shutil.copyfile(path.with_name("train_00004.png"), path)


WAYS: dict[str, Callable[[Path], object]] = {
    "truncated": cut,
    "flipped": flip,
    "emptied": lambda path: path.write_bytes(b""),
    "replaced": replace,
    "missing": Path.unlink,
    "too many": lambda path: shutil.copyfile(path, path.with_name("copy" + path.suffix)),
}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_a_spoiled_artifact_is_told_in_one_line_with_the_stage_to_run(
    tiny_run: Project, tmp_path: Path, kind: str, way: str
) -> None:
    case = CASES[kind]
    folder = copy_of(tiny_run, case.folder, tmp_path)
    path = folder / case.file
    WAYS[way](path)
    line = told(tiny_run, tmp_path / "out", case.reader, **{case.option: folder})
    if way == "too many":
        path = path.with_name("copy" + path.suffix)
    elif (kind, way) == ("manifest", "missing"):
        path = folder
    assert line.startswith(f"{path}: ")
    assert line.endswith(f"rerun the stage that writes it (dvc repro {case.folder})")


@pytest.mark.parametrize("kind", ["table", "maps"])
def test_a_sound_copy_is_taken_and_the_output_gets_a_manifest(tiny_run: Project, tmp_path: Path, kind: str) -> None:
    case = CASES[kind]
    given = {case.option: copy_of(tiny_run, case.folder, tmp_path)}
    assert ended(tiny_run, tmp_path / "out", case.reader, **given).returncode == 0
    out = tmp_path / "out" / case.reader
    assert check_folder(out).stage == case.reader
    assert files_of(out) == files_of(tiny_run.data / case.reader)


def _older_table(folder: Path) -> None:
    path = folder / "detections.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"schema_version": b"0"}), path)


def _other_shard(folder: Path) -> None:
    with ShardWriter(folder, "maps") as writer:
        writer.add({"other": np.zeros((1, 2, 2), np.float16)})


@pytest.mark.parametrize(
    ("kind", "write", "expected"),
    [
        ("table", _older_table, f"schema_version is 0, this code reads {SCHEMA_VERSION}"),
        ("weights", lambda folder: replace(folder / "model.safetensors"), "holds no weights of the trunk"),
        ("maps", _other_shard, "no member 'train_00000'"),
    ],
    ids=["table", "weights", "shard"],
)
def test_a_file_of_another_version_with_a_manifest_of_its_own_is_told(
    tiny_run: Project,
    tmp_path: Path,
    kind: str,
    write: Callable[[Path], object],
    expected: str,
) -> None:
    case = CASES[kind]
    folder = copy_of(tiny_run, case.folder, tmp_path)
    write(folder)
    write_manifest(folder, case.folder)
    line = told(tiny_run, tmp_path / "out", case.reader, **{case.option: folder})
    assert line.startswith(f"{folder / case.file}: {expected}")
    assert line.endswith(f"rerun the stage that writes it (dvc repro {case.folder})")


def test_the_output_of_another_stage_in_the_place_of_one_is_told(tiny_run: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "copy")
    shutil.copytree(tiny_run.root, project.root, symlinks=True)
    shutil.rmtree(project.data / "detect_step4")
    shutil.copytree(project.data / "detect_step2", project.data / "detect_step4")
    before = files_of(project.data / "evaluate_step4")
    result = run_command(project.root, *words_of(project.root, "evaluate_step4"))
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "evaluate_step4: error: data/detect_step4: holds what detect_step2 wrote; "
        "rerun the stage that writes it (dvc repro detect_step4)"
    )
    assert files_of(project.data / "evaluate_step4") == before


SPOILED: dict[str, Callable[[Path], object]] = {
    "dataset/findings.parquet": cut,
    "backbone/model.safetensors": flip,
    "resize/pixels-00000.npz": flip,
    "anchor_targets/bg-00000.npz": replace,
    "train_rpn_step1/history.csv": replace,
    "proposals_step1/objectness-00000.npz": WAYS["missing"],
    "proposal_targets_step2/normalisation.json": WAYS["emptied"],
    "features/maps-00000.npz": WAYS["too many"],
    "train_rpn_step3/manifest.json": WAYS["missing"],
    "evaluate_step4/confusion.csv": flip,
    "evaluate_joint/manifest.json": cut,
}


@pytest.mark.long
def test_dvc_notices_every_changed_output_and_makes_it_as_it_was(tiny_run: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "copy")
    shutil.copytree(tiny_run.root, project.root, symlinks=True)
    for name, spoil in SPOILED.items():
        spoil(project.data / name)
    changed = {name.split("/")[0] for name in SPOILED}
    assert files_of(project.data) != files_of(tiny_run.data)
    result = project.run("dvc", "repro")
    assert result.returncode == 0, result.stderr[-2000:]
    lines = result.stdout.splitlines()
    untouched = {line.split("'")[1] for line in lines if "didn't change, skipping" in line}
    assert untouched and not untouched & changed
    assert project.lock() == tiny_run.lock()
    assert files_of(project.data) == files_of(tiny_run.data)
