"""`frcnn doctor`: what it says of a machine, and that DVC works with the links that it sets."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from pipeline.orchestrate import doctor, precision
from pipeline.runtime.errors import InputError
from pipeline.runtime.variables import EVERY_MINUTES, PROCESSES, VARIABLES
from tests.conftest import Project
from tests.e2e.stand_in import stand_in

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # of dvc, in pygtrie
TOPICS = [
    "versions",
    "parameters",
    "variables",
    "processor",
    "memory",
    "GPU",
    "precision",
    "disk",
    "graph",
    "cache",
    "locks",
]


@pytest.fixture
def copied(tiny_run: Project, tmp_path: Path) -> Project:
    return Project(Path(shutil.copytree(tiny_run.root, tmp_path / "copy", symlinks=True)))


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (0.5, 9.0, 9.0))
    monkeypatch.setattr(doctor, "has_gpu", lambda: False)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def lines_of(root: Path) -> tuple[bool, list[str]]:
    lines: list[str] = []
    return doctor.examine(root, lines.append), lines


def test_it_reports_on_each_topic_in_a_line_with_its_remedy(
    copied: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "links_that_work", lambda *_: ["hardlink", "symlink"])
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: range(4))
    monkeypatch.setattr(doctor, "_MEMORY_MAX", tmp_path / "memory.max")
    (tmp_path / "memory.max").write_text("2000000\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(precision, "has_bf16", lambda: False)
    copied.set_params({"base": {"precision": "bf16"}})
    are_well, lines = lines_of(copied.root)
    topics = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert are_well and topics == TOPICS
    text = "\n".join(lines)
    assert "4 cores; base.threads is 1\n           -> FRCNN_PROCESSES=4 runs" in text
    assert "memory     2 MB, 2 MB free" in text
    assert "none is used; stages compute on the CPU" in text
    assert "base.precision is bf16\n           -> this processor has no bf16 instructions" in text
    assert "copies, so each artifact takes its space twice\n           -> frcnn doctor --link hardlink" in text


def test_more_threads_than_cores_and_a_gpu_out_of_order_are_said(
    copied: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:  # as gpu_or_cpu does
        raise InputError("torch cannot use the GPU: it is lost; mend that")

    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: {0})
    monkeypatch.setattr(doctor, "gpu_or_cpu", refuse)
    copied.set_params({"base": {"threads": 2}})
    are_well, lines = lines_of(copied.root)
    text = "\n".join(lines)
    assert not are_well and "GPU        torch cannot use the GPU: it is lost" in text
    assert "1 core; base.threads is 2\n           -> set base.threads to 1" in text


@pytest.mark.parametrize(
    ("threads", "remedy"),
    [
        (2, "wait until the others have ended, or set base.threads to 1, which reruns all stages"),
        (1, "stages will be slow until"),
    ],
)
def test_cores_that_others_use_are_said(
    copied: Project, monkeypatch: pytest.MonkeyPatch, threads: int, remedy: str
) -> None:
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: range(2))
    monkeypatch.setattr(doctor.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (7.25, 0.5, 0.5))
    copied.set_params({"base": {"threads": threads}})
    text = "\n".join(lines_of(copied.root)[1])
    load = "processor  2 cores, and a load of 7.2 from other processes; base.threads is"
    assert f"{load} {threads}\n           -> {remedy}" in text and f"set {PROCESSES}" not in text
    monkeypatch.setenv(PROCESSES, "8")
    text = "\n".join(lines_of(copied.root)[1])
    assert remedy in text and f"; set {PROCESSES} to {2 // threads}, as their threads" in text
    monkeypatch.setattr(doctor, "has_gpu", lambda: True)  # where processes wait for the GPU instead
    assert f"set {PROCESSES}" not in "\n".join(lines_of(copied.root)[1])


def test_variables_that_are_set_are_said_and_more_processes_than_cores(
    copied: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: range(4))
    monkeypatch.setenv(PROCESSES, "8")
    monkeypatch.setenv("FRCNN_CHECKPOINT_MINUTE", "1")
    copied.set_params({"base": {"threads": 2}})
    are_well, lines = lines_of(copied.root)
    text = "\n".join(lines)
    assert are_well and f"variables  {PROCESSES}=8 (docs/variables.md)" in text
    assert f"FRCNN_CHECKPOINT_MINUTE: no such variable, so it has no effect; the nearest is {EVERY_MINUTES}" in text
    assert f"4 cores; base.threads is 2\n           -> set {PROCESSES} to 2" in text


def test_all_wrong_variables_are_faults(copied: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROCESSES, "all")
    monkeypatch.setenv(EVERY_MINUTES, "often")
    are_well, lines = lines_of(copied.root)
    assert not are_well
    assert [line for line in lines if line.startswith("variables")] == [
        f"variables  {PROCESSES}=all: give a whole number from 1 to 512, or leave it out for 1",
        f"variables  {EVERY_MINUTES}=often: give a finite number above 0, or leave it out for 5",
    ]


@pytest.mark.parametrize("kind", ["hardlink", pytest.param("symlink", marks=pytest.mark.long)])
def test_dvc_reruns_a_stage_among_links_without_writing_through_them(
    copied: Project, tiny_run: Project, tmp_path: Path, kind: str
) -> None:
    said = doctor.set_links(copied.root, kind)
    assert f"cache.type is {kind} in .dvc/config.local" in said
    assert copied.run("dvc", "checkout", "--relink").returncode == 0
    linked = copied.data / "resize/classes.json"
    assert linked.is_symlink() if kind == "symlink" else linked.stat().st_nlink > 1
    assert lines_of(copied.root)[1][-2].endswith(f": {kind}s; files in data/ are read-only")
    copied.set_params({"train_head_step4": {"lr": 0.005}})
    ran = copied.repro(programs=stand_in(tmp_path / "bin", tiny_run))
    assert ran[0] == "train_head_step4" and len(ran) == 6, "nothing reruns for its links"
    for file in (copied.root / ".dvc/cache/files/md5").glob("??/*"):
        if not file.name.endswith(".dir"):
            assert hashlib.md5(file.read_bytes()).hexdigest() == file.parent.name + file.name


def test_a_link_that_does_not_work_is_refused_in_one_line(copied: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "links_that_work", lambda *_: ["symlink"])
    with pytest.raises(InputError, match=r"--link hardlink: does not work from .*; give one of symlink, copy"):
        doctor.set_links(copied.root, "hardlink")
    with pytest.raises(InputError, match="--link junction: give one of reflink, hardlink, symlink, copy"):
        doctor.set_links(copied.root, "junction")
    assert not (copied.root / ".dvc/config.local").exists()


def test_a_setting_that_does_not_work_here_is_a_fault(copied: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    doctor.set_links(copied.root, "hardlink")
    monkeypatch.setattr(doctor, "links_that_work", lambda *_: [])
    are_well, lines = lines_of(copied.root)
    assert not are_well and "hardlink does not work from there to" in "\n".join(lines)


def test_a_container_has_the_cores_that_its_quota_is_worth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: range(64))
    monkeypatch.setattr(doctor, "_CPU_MAX", tmp_path / "cpu.max")
    assert doctor.cores_in_use() == 64
    for text, cores in (("max 100000", 64), ("250000 100000", 2), ("50000 100000", 1), ("9900000 100000", 64)):
        (tmp_path / "cpu.max").write_text(f"{text}\n")
        assert doctor.cores_in_use() == cores


def test_what_cannot_be_looked_into_is_a_fault_of_its_topic_and_the_report_goes_to_its_end(copied: Project) -> None:
    (copied.root / "params.yaml").unlink()
    (copied.root / "dvc.yaml").write_text("stages: [\n")
    shutil.rmtree(copied.root / ".dvc/cache")
    (copied.root / ".dvc/cache").write_text("a file")
    are_well, lines = lines_of(copied.root)
    of_topic = {line.split()[0]: line for line in lines if not line.startswith(" ")}
    assert not are_well and list(of_topic) == [topic for topic in TOPICS if topic != "precision"]
    assert "params.yaml" in of_topic["parameters"] and "dvc.yaml" in of_topic["graph"]
    assert ".dvc/cache" in of_topic["cache"]
    assert "base.threads" not in of_topic["processor"]


def test_a_cache_that_is_not_there_is_said_and_not_made(copied: Project, tmp_path: Path) -> None:
    assert copied.run("dvc", "cache", "dir", "--local", str(tmp_path / "share/cache")).returncode == 0
    are_well, lines = lines_of(copied.root)
    assert are_well and not (tmp_path / "share").exists()
    assert f"/share/cache, which is not there yet and would be made in {tmp_path}" in "\n".join(lines)
