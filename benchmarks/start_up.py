"""How long does it take until something happens? python -m benchmarks.start_up

A `dvc repro` of the default graph in which nothing is to be done, after a small run of all of it; and from starting
the interpreter to having a stage's modules, for each of the graph's stages. Told is also which stages load torch: those
that compute without it should not wait for it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.page import Row, write_section
from benchmarks.small_project import small_project

RUNS = 5
_ROOT = Path(__file__).resolve().parents[1]


def stage_modules() -> dict[str, str]:
    """The module of each stage of the graph, such as `stages.train_rpn`."""
    stages = yaml.safe_load((_ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: stage["cmd"].split()[2] for name, stage in stages.items() if name != "code"}


def loads_torch(module: str) -> bool:
    """Whether importing a stage's module imports torch."""
    code = f"import sys, {module}; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True).stdout.strip() == "True"


def seconds_to_import(module: str) -> float:
    """From nothing to a stage that is about to read its command line; as a stage it does not wait to be unloaded."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import os, {module}; os._exit(0)"], cwd=_ROOT, check=True)
    return time.perf_counter() - began


def seconds_of_no_op(root: Path, runs: int) -> list[float]:
    """Of `dvc repro` in a project whose stages are all up to date."""
    environment = {**os.environ, "PYTHONPATH": str(root), "DVC_NO_ANALYTICS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def repro() -> float:
        began = time.perf_counter()
        result = subprocess.run(["dvc", "repro"], cwd=root, env=environment, capture_output=True, text=True, check=True)
        outputs.append(result.stdout)
        return time.perf_counter() - began

    outputs: list[str] = []
    repro()
    times = [repro() for _ in range(runs)]
    assert not any("Running stage" in text for text in outputs[1:]), "something was not up to date"
    return times


def main() -> None:
    modules = stage_modules()
    by_torch = {module: loads_torch(module) for module in dict.fromkeys(modules.values())}
    # Rounds over all modules, so that a slow minute slows them alike.
    rounds = [{module: seconds_to_import(module) for module in by_torch} for _ in range(RUNS)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        root.mkdir()
        small_project(root, threads=2)
        no_op = seconds_of_no_op(root, RUNS)
    starts = [sum(each[module] for module in modules.values()) for each in rounds]
    lines = [
        f"| `{name}` | {statistics.median(each[module] for each in rounds):.2f} s | "
        f"{'yes' if by_torch[module] else 'no'} |"
        for name, module in modules.items()
    ]
    about = (
        "`dvc repro` where nothing is to be done, and from starting the interpreter to having a stage's modules.\n\n"
        "| stage | until it starts | loads torch |\n| --- | --- | --- |\n" + "\n".join(lines)
    )
    rows = [
        Row(f"`dvc repro` of {len(modules)} stages, nothing to do", no_op, bar=3.0, unit="s"),
        Row(f"start of all {len(modules)} stages, added up", starts, bar=60.0, unit="s"),
    ]
    write_section("start_up", "Start-up", about, rows, on_cpu=True)


if __name__ == "__main__":
    main()
