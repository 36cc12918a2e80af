"""The kit and the sections of `benchmarks.gpu_truth` stay whole, though no GPU is at hand."""

from __future__ import annotations

import importlib
import json
import os
import re
import select
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_kit
from benchmarks.gpu_truth import __main__ as gpu_truth
from benchmarks.gpu_truth import graph, process
from benchmarks.gpu_truth.bench import Bench
from benchmarks.gpu_truth.sections import SECTIONS, Section
from tests.conftest import ROOT

PHOTOS, WEIGHTS = ROOT.parent / "shared/data/voc6_mini", ROOT.parent / "shared/weights/vgg16_features_torchvision.pth"
CPU = torch.device("cpu")


def small_kit(folder: Path, photos: int = 0) -> Path:
    """A kit without wheels, for a Python that lacks nothing."""
    folder.mkdir()
    if photos:
        gpu_kit.copy_photos(PHOTOS, folder / "photos", photos)
        gpu_kit.halve_weights(WEIGHTS, folder / "vgg16-float16.safetensors")
    gpu_kit.write_list(folder)
    return folder


def test_every_section_can_be_imported_and_is_in_the_docs_with_its_limit() -> None:
    page = (ROOT / "docs/gpu.md").read_text(encoding="utf-8")
    told = [(name, int(limit)) for name, limit in re.findall(r"^\| `(\w+)` \| (\d+) \|", page, flags=re.MULTILINE)]
    assert told == [(section.name, section.seconds) for section in SECTIONS]
    assert sum(section.seconds for section in SECTIONS if section.always) == 540
    for section in SECTIONS:
        assert callable(importlib.import_module(f"benchmarks.gpu_truth.{section.name}").run)
        assert section.records and section.name in page


def test_the_caller_needs_nothing_but_python() -> None:
    code = (
        "import sys, benchmarks.gpu_truth.__main__; print([m for m in ('torch', 'numpy', 'yaml') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_what_the_stages_import_is_there_or_in_the_kit() -> None:
    code = """
import importlib, json, pkgutil, sys, stages, faster_coco_eval, benchmarks.gpu_truth
for package in (stages, benchmarks.gpu_truth):
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    named = packages_distributions()
    used = {gpu_kit.distribution_name(one) for module in json.loads(told.stdout) for one in named.get(module, [])}
    assert {"torch", "pydantic"} <= used
    assert used - set(gpu_kit.ALREADY_THERE) - set(gpu_kit.WHEELS) - set(gpu_kit.BROUGHT) == {"frcnn-pipeline"}


def test_wheels_are_asked_for_by_the_hashes_of_the_lock() -> None:
    told = gpu_kit.locked(list(gpu_kit.WHEELS), (ROOT / "requirements.lock").read_text(encoding="utf-8"))
    starts = re.findall(r"^([a-z-]+)==[\w.]+ \\\n    --hash=sha256:", told, flags=re.MULTILINE)
    assert starts == list(gpu_kit.WHEELS)
    assert ";" not in told


def test_a_kit_that_is_none_or_damaged_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is not a kit; make it with `make gpu-kit`"):
        gpu_truth.main(["--kit", str(tmp_path), "--out", str(tmp_path / "out")])
    kit = tmp_path / "kit"
    kit.mkdir()
    (kit / "photo").write_bytes(b"1")
    assert gpu_kit.write_list(kit) == 1
    assert gpu_truth.check_kit(kit) == gpu_kit.WHEELS
    (kit / "photo").write_bytes(b"2")
    with pytest.raises(SystemExit, match=r"photo: is missing or damaged"):
        gpu_truth.check_kit(kit)


def test_a_folder_that_is_no_kit_is_not_written_over_and_a_kit_stays_until_the_next_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_kit, "copy_photos", lambda source, target, count: target.mkdir())
    monkeypatch.setattr(gpu_kit, "halve_weights", lambda source, target: target.write_bytes(b"12"))
    out = tmp_path / "home"
    out.mkdir()
    (out / "letter").write_text("mine")
    for taken in (out, out / "letter"):
        with pytest.raises(SystemExit, match=f"{taken}: is there and is not a kit; give another --out"):
            gpu_kit.build(taken, tmp_path, tmp_path, 1, wheels=False)
    (out / "letter").rename(tmp_path / "letter")
    assert gpu_kit.build(out, tmp_path, tmp_path, 1, wheels=False) == 2

    def fails(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gpu_kit, "halve_weights", fails)
    with pytest.raises(OSError, match="No space left"):
        gpu_kit.build(out, tmp_path, tmp_path, 1, wheels=False)
    gpu_truth.check_kit(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "letter"]


def test_what_the_caller_imports_from_elsewhere_a_section_does_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "tree/benchmarks/gpu_truth/process.py"
    script.parent.mkdir(parents=True)
    script.write_text(
        "import json, sys, elsewhere\nopen(sys.argv[4], 'w').write(json.dumps({'found': elsewhere.__name__}))\n"
    )
    (tmp_path / "own").mkdir()
    (tmp_path / "own/elsewhere.py").touch()
    monkeypatch.setattr(gpu_truth, "ROOT", tmp_path / "tree")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "own"))
    section, places = Section("one", 30, "something"), [tmp_path / name for name in ("kit", ".", "site", "log")]
    assert gpu_truth.run_section(section, *places, small=False)["measured"] == {"found": "elsewhere"}


def test_wheels_are_unpacked_for_what_is_missing_alone(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in ("absent_one", "numpy"):
        with zipfile.ZipFile(wheels / f"{name}-1.whl", "w") as archive:
            archive.writestr(f"{name}/__init__.py", "")
    modules = {"absent-one": "absent.one", "numpy": "numpy"}
    assert gpu_truth.unpack_missing(tmp_path, modules, tmp_path / "site") == ["absent_one-1.whl"]
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["absent_one"]


def test_a_section_that_fails_or_hangs_stops_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each process stands for a section: one fails, one records and hangs with a child of its own, one is skipped.
    script = tmp_path / "tree/benchmarks/gpu_truth/process.py"
    script.parent.mkdir(parents=True)
    script.write_text(
        "import pathlib, subprocess, sys, time\n"
        "name, result = sys.argv[1], pathlib.Path(sys.argv[4])\n"
        "if name == 'fails': raise SystemExit(3)\n"
        "result.write_text('{\"skipped\": \"no GPU\"}' if name == 'skipped' else '{\"half\": 1}')\n"
        "if name == 'hangs':\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "    pathlib.Path(sys.argv[3], '..', 'child').write_text(str(child.pid))\n"
        "    child.wait()\n"
    )
    monkeypatch.setattr(gpu_truth, "ROOT", tmp_path / "tree")
    monkeypatch.setattr(gpu_truth.tempfile, "tempdir", str(tmp_path))
    sections = [Section(name, 2, "something", {"it": "works"}) for name in ("fails", "hangs", "skipped")]
    lines = gpu_truth.run_all(sections, tmp_path, tmp_path / "out", {}, small=False)
    assert [line["status"] for line in lines] == ["failed, see log.txt", "ended after 2 s", "skipped: no GPU"]
    assert [line["measured"] for line in lines] == [{}, {"half": 1}, {}]
    written = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert written == lines and all(line["predicted"] == {"it": "works"} for line in written)
    assert _is_gone(int((tmp_path / "child").read_text()))


def _is_gone(pid: int) -> bool:
    """A killed process is there until its parent, or that of orphans, has asked after it."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    return bool(select.select([handle], [], [], 30)[0])


def test_a_figure_that_cannot_be_had_leaves_the_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tmp_path, tmp_path / "result.json", CPU, small=True)
    bench.attempt("one", lambda: 1)
    bench.attempt("two", lambda: 1 / 0)
    bench.attempt("three", lambda: 3)
    told = json.loads((tmp_path / "result.json").read_text())
    assert told == {"one": 1, "two": {"error": "ZeroDivisionError: division by zero"}, "three": 3}


def test_every_stage_of_dvc_yaml_can_be_run_without_dvc() -> None:
    commands = graph.commands()
    assert len(commands) == 22 and next(iter(commands)) == "code"
    needs = graph.needs()
    assert needs["dataset"] == {"code"} and {"resize", "backbone", "anchor_targets"} <= needs["train_rpn_step1"]
    for command in commands.values():
        assert command[:2] == [sys.executable, "-m"] and "$" not in " ".join(command)
        assert (ROOT / (command[2].replace(".", "/") + ".py")).is_file()


def test_runs_are_compared_in_what_both_have_done() -> None:
    one = {"dataset/images.parquet": "a", "resize/manifest.json": "b", "features/manifest.json": "c"}
    both = {"dataset": 1.0, "resize": 2.0}
    told = graph.compared([one, {**one, "features/manifest.json": "half"}], [{**both, "features": 3.0}, both])
    assert told["same_bytes"] and told["stages_done"] == [3, 2] and told["artifacts"] == {"resize/manifest.json": "b"}
    other = graph.compared([one, {**one, "resize/manifest.json": "z"}], [both, both])
    assert not other["same_bytes"] and other["differing"] == ["resize/manifest.json"]
    assert not graph.compared([one, one], [both, {}])["same_bytes"]  # nothing was compared


def test_ceilings_are_measured_here(tmp_path: Path) -> None:
    kit = small_kit(tmp_path / "kit")
    gpu_truth.main(["--kit", str(kit), "--out", str(tmp_path / "out"), "--small", "--only", "ceilings"])
    (line,) = (json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines())
    assert line["status"] == "done" and line["small"] and line["unpacked"] == []
    assert line["measured"]["bf16_tflops"] > 0 and "error" not in str(line["measured"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_nothing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for section in SECTIONS:
        result = tmp_path / f"{section.name}.json"
        monkeypatch.setattr(sys, "argv", ["process", section.name, str(tmp_path), str(tmp_path), str(result)])
        process.main()
        assert json.loads(result.read_text()) == {"skipped": "no GPU"}


@pytest.mark.long
@pytest.mark.skipif(not WEIGHTS.is_file() or not PHOTOS.is_dir(), reason="needs the photos and weights of ../shared")
def test_every_section_runs_small(tmp_path: Path) -> None:
    kit = small_kit(tmp_path / "kit", photos=24)
    every = [section.name for section in SECTIONS]
    gpu_truth.main(["--kit", str(kit), "--out", str(tmp_path / "out"), "--small", "--only", *every])
    lines = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    log = (tmp_path / "out/log.txt").read_text()
    assert [line["section"] for line in lines] == every
    for line in lines:
        assert line["status"] == "done", log[-4000:]
        assert '"error"' not in json.dumps(line["measured"]), line
    measured = {line["section"]: line["measured"] for line in lines}
    assert measured["graph"]["same_bytes"] and measured["graph"]["stages_done"] == [22, 22]
    assert measured["whole"]["stages_done"] == 22 and measured["whole"]["metrics"].keys() >= {"evaluate_joint"}
    assert measured["graph"]["stopped_and_resumed"]["same_bytes"]
    assert measured["smoke"]["same_bits_twice"] and measured["smoke"]["gradients"]["agrees"]
