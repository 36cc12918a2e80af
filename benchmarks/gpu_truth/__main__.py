"""Find out what a GPU does with this project, in one call of nine minutes, on a machine with little installed.

    python -m benchmarks.gpu_truth --kit DIR --out DIR [--small] [--only SECTION ...]

Each section is a process of its own with a time limit of its own; none stops the next. OUT/results.jsonl gets a line a
section: its name, status, seconds, what was predicted and what was measured. OUT/log.txt has what they printed.
--small: tiny sizes, to try it all on a CPU, where figures say nothing. Wheels of the kit are unpacked for what the
machine lacks.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_truth.sections import PATIENCE, SECTIONS, Section

ROOT = Path(__file__).resolve().parents[2]
_LOG_BYTES = 4_000_000


def check_kit(kit: Path) -> dict[str, str]:
    """Module by distribution of the kit's wheels, all its files being whole."""
    if not (kit / "kit.json").is_file():
        sys.exit(f"gpu_truth: error: {kit}: is not a kit; make it with `make gpu-kit`")
    content = json.loads((kit / "kit.json").read_text(encoding="utf-8"))
    for name, entry in content["files"].items():
        path = kit / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
            sys.exit(f"gpu_truth: error: {path}: is missing or damaged; make the kit again with `make gpu-kit`")
    return dict(content["wheels"])


def unpack_missing(kit: Path, modules: Mapping[str, str], site: Path) -> list[str]:
    """Unpack the wheels of modules that this Python lacks; what was unpacked."""
    unpacked = []
    for distribution, module in modules.items():
        if _is_there(module):
            continue
        for wheel in kit.glob(f"wheels/{distribution.replace('-', '_')}-*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
            unpacked.append(wheel.name)
    return unpacked


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def run_section(section: Section, kit: Path, work: Path, site: Path, log: Path, *, small: bool) -> dict[str, Any]:
    """Run one section; its line, whatever becomes of it."""
    result = work / f"{section.name}.json"
    command = [sys.executable, "-m", "benchmarks.gpu_truth.process", section.name, str(kit), str(work), str(result)]
    path = os.pathsep.join([str(ROOT), str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    limit = section.seconds * (PATIENCE if small else 1)
    began = time.monotonic()
    with log.open("ab") as output:
        output.write(f"== {section.name}\n".encode())
        output.flush()
        process = subprocess.Popen(
            command + ["--small"] * small,
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = "done" if process.wait(limit) == 0 else f"failed, see {log.name}"
        except subprocess.TimeoutExpired:
            status = f"ended after {limit} s"
        finally:
            _end_all_of(process)
    measured: dict[str, Any] = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
    if set(measured) == {"skipped"}:
        status = f"skipped: {measured.pop('skipped')}"
    return {
        "section": section.name,
        "status": status,
        "seconds": round(time.monotonic() - began, 1),
        "records": section.records,
        "predicted": dict(section.predicted),
        "measured": measured,
    }


def _end_all_of(process: subprocess.Popen[bytes]) -> None:
    """The section and the stages that it started: they are its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_all(
    sections: Sequence[Section], kit: Path, out: Path, modules: Mapping[str, str], *, small: bool
) -> list[dict[str, Any]]:
    """Every section in turn; their lines, which are in results.jsonl as well."""
    out.mkdir(parents=True, exist_ok=True)
    results, log, lines = out / "results.jsonl", out / "log.txt", []
    results.write_text("", encoding="utf-8")
    log.write_bytes(b"")
    with tempfile.TemporaryDirectory(prefix="gpu-truth-") as folder:
        site = Path(folder) / "site"
        site.mkdir()
        unpacked = unpack_missing(kit, modules, site)
        for section in sections:
            line = run_section(section, kit, Path(folder), site, log, small=small)
            if section is sections[0]:
                line |= {"unpacked": unpacked, "small": small}
            lines.append(line)
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{section.name}: {line['status']}, {line['seconds']} s", flush=True)
    if log.stat().st_size > _LOG_BYTES:
        log.write_bytes(log.read_bytes()[-_LOG_BYTES:])
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, required=True, help="folder that `make gpu-kit` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for results.jsonl and log.txt")
    parser.add_argument("--small", action="store_true", help="tiny sizes, for a CPU")
    parser.add_argument("--only", nargs="+", choices=[section.name for section in SECTIONS], metavar="SECTION")
    given = parser.parse_args(arguments)
    kit = given.kit.resolve()
    usual = [section.name for section in SECTIONS if section.always]
    chosen = [section for section in SECTIONS if section.name in (given.only or usual)]
    run_all(chosen, kit, given.out.resolve(), check_kit(kit), small=given.small)
    print(f"gpu_truth: see {given.out / 'results.jsonl'}")


if __name__ == "__main__":
    main()
