"""What do DVC and Prefect cost a stage? Every stage of a small graph under the flow, its time taken apart.

    python -m benchmarks.flow_overhead [--threads N]

Runs the default graph on a few images and iterations in an empty folder, then again with everything cached. With as
many threads as cores stages run one after another, with fewer side by side. Of each stage it prints

- imports: the interpreter of DVC and its imports, the interpreter of the stage and its imports;
- work: the stage's own;
- DVC: its decision to run, hashing, committing, and its end;
- Prefect: from the end of the last of the stages it reads from to its being ready. The wait for free cores that may
  follow is nobody's cost.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from pipeline.families.registry import DEFAULT, family_of
from pipeline.orchestrate.graph import read_graph
from pipeline.orchestrate.record import StageRecord, read_record
from pipeline.presets.defaults import default_text
from pipeline.presets.links import LINKED

_ROOT = Path(__file__).resolve().parents[1]
_TREE = (
    "dvc.yaml",
    "graphs",
    "params.yaml",
    ".gitignore",
    "stages",
    "pipeline",
    ".dvc/config",
    ".dvcignore",
    "data/.gitignore",
)
_SMALL = {
    "dataset": {"shapes": {"train": 12, "test": 6, "image_size": 192, "max_objects": 4}},
    "backbone": {"pretrain": {"images": 12, "crops_per_iteration": 16, "iterations": 4}},
    "resize": {"shorter_side": 192, "longer_side": 320},
    **{
        stage: {"iterations": 10, "images_per_iteration": 2, "lr_drop_at": [9], "warmup_iterations": 1}
        for stage in ("train_rpn_step1", "train_head_step2", "train_rpn_step3", "train_head_step4", "finetune_joint")
    },
}


def small_project(root: Path, threads: int) -> None:
    """A copy of this project with little to do."""
    for name in _TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (_ROOT / name).is_dir():
            shutil.copytree(_ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(_ROOT / name, root / name)
    for place in LINKED.values():
        (root / place).mkdir(parents=True, exist_ok=True)
    params = yaml.safe_load(default_text(family_of(DEFAULT)))
    _apply_overlay(params, {**_SMALL, "base": {"threads": threads}})
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)


def _apply_overlay(params: dict, overlay: dict) -> None:
    for key, value in overlay.items():
        if isinstance(value, dict):
            _apply_overlay(params[key], value)
        else:
            params[key] = value


def run_flow(root: Path) -> float:
    """Seconds of one flow, its process, server and all."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "flow"],
        cwd=root,
        env={**environment, "PYTHONPATH": str(root)},
        check=True,
        capture_output=True,
    )
    return time.monotonic() - began


def seconds_to_import_dvc(root: Path) -> float:
    """From nothing to a DVC that is about to read the graph."""
    code = "import dvc.cli, dvc.repo.reproduce, dvc.commands.repro"
    times = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
        times.append(time.monotonic() - began)
    return statistics.median(times)


def rows_of(root: Path, records: dict[str, StageRecord], dvc_imports: float) -> dict[str, tuple[float, ...]]:
    """Imports, work, DVC and Prefect of each stage, seconds."""
    graph = read_graph(root)
    rows: dict[str, tuple[float, ...]] = {}
    for name, record in records.items():
        marks = record.marks
        stage_imports = marks["working"] - marks["started"]
        work = marks["worked"] - marks["working"]
        dvc = record.seconds - work - stage_imports - dvc_imports
        before = [records[upstream].marks["ended"] for upstream in graph.nodes[name].upstream]
        prefect = marks["ready"] - max(before) if before else 0.0
        rows[name] = (dvc_imports + stage_imports, work, dvc, prefect)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="base.threads")
    threads = parser.parse_args().threads
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        root.mkdir()
        small_project(root, threads)
        all_seconds = run_flow(root)
        flow_seconds, records = read_record(root)
        rows = rows_of(root, records, seconds_to_import_dvc(root))
        cached_seconds = [run_flow(root) for _ in range(3)]
        cached_flow_seconds, _ = read_record(root)
    print(f"{'stage':24}{'imports':>9}{'work':>9}{'DVC':>9}{'Prefect':>9}{'DVC+Prefect':>13}")
    for name, (imports, work, dvc, prefect) in rows.items():
        print(f"{name:24}{imports:9.2f}{work:9.2f}{dvc:9.2f}{prefect:9.2f}{dvc + prefect:13.2f}")
    means = [statistics.mean(column) for column in zip(*rows.values(), strict=True)]
    print(f"{'mean':24}" + "".join(f"{mean:9.2f}" for mean in means) + f"{means[2] + means[3]:13.2f}")
    worst = max(row[2] + row[3] for row in rows.values())
    print(f"largest DVC + Prefect of a stage {worst:.2f} s")
    print(f"all {len(rows)} stages: {all_seconds:.1f} s, of which the flow {flow_seconds:.1f} s")
    cached = statistics.median(cached_seconds)
    print(f"all cached: {cached:.1f} s (median of 3), of which the flow {cached_flow_seconds:.1f} s")


if __name__ == "__main__":
    main()
