"""A stage of eleven images in chunks of two, which does with an image what the environment says."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.atomic import write_text
from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.tables import box_columns
from pipeline.params.base import Base
from pipeline.params.reading import MissingParameter
from pipeline.runtime.errors import InputError
from pipeline.runtime.processes import over_processes
from pipeline.runtime.progress import track
from pipeline.runtime.stage import Stage, run_stage
from tests.faults.processes import until

ORDERS = "TEST_ORDERS"
"""JSON, what to do by the image's id."""

IDS = [f"{place:03d}" for place in range(11)]


class Unsendable(RuntimeError):
    """Made of other arguments than it keeps."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


ERRORS: dict[str, Any] = {
    "bad input": lambda: InputError("photo.jpg: is damaged; replace it"),
    "no parameter": lambda: MissingParameter("base.colour", "params.yaml"),
    "disk full": lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out"),
    "no memory": lambda: MemoryError(),
    "no memory for torch": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    "bug": lambda: Unsendable("a", "bug"),
}


@over_processes
def stage_of_orders(stage: Stage) -> None:
    """Write rows and an array of each image."""
    orders = json.loads(os.environ.get(ORDERS, "{}"))
    stage.log("begins")
    if not stage.share.is_part:
        set_up(orders.get("setup", ""), stage)
    with ChunkedWork(stage.out, IDS, stage.log, images_per_chunk=2, share=stage.share) as work:
        table, shards = work.table("detections.parquet", DETECTIONS), work.shards("maps")
        for image_id in work.through(track(work.missing, stage.name, len(IDS), done=work.found)):
            obey(orders.get(image_id, ""), stage)
            shards.add({image_id: np.full((2, 3), int(image_id), np.float32)})
            boxes = np.random.default_rng(int(image_id)).uniform(0, 99, (int(image_id) % 4, 4))
            table.write({"image_id": image_id, "label": 1, "score": 0.5, **box_columns(boxes)})
        (stage.out / "rows.json").write_text(str(sum(len(group["label"]) for group in table.groups())))
    stage.log(f"{table.rows} rows")


def set_up(order: str, stage: Stage) -> None:
    """What the stage's own process does before the images."""
    if order in ERRORS:
        raise ERRORS[order]()
    if order == "say so":
        descriptor = os.open(stage.out.parent / "set-up", os.O_RDWR)  # open for reading too, so that it waits for none
        os.write(descriptor, b"done")
    if order == "note gpus":
        (stage.out.parent / "noted-before").write_text(str(len(list(stage.out.parent.glob("gpu-*")))))


def note(what: str, text: str, stage: Stage) -> None:
    """Leave a note in a file of this process, and wait until each has left one: so none gets two chunks with notes."""
    write_text(stage.out.parent / f"{what}-{stage.share.number}", text)
    until(lambda: len(list(stage.out.parent.glob(f"{what}-*"))) == stage.share.of, "another process leaves no note")


def obey(order: str, stage: Stage) -> None:
    """Raise, end, wait or leave a note."""
    if order in ERRORS:
        raise ERRORS[order]()
    if order == "note signals":
        status = Path("/proc/self/status").read_text()
        note("blocked", status.partition("SigBlk:")[2].split()[0], stage)
        return
    if order == "note start":
        opened = {
            int(entry.name): str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()
        }
        started = Path("/proc/self/cmdline").read_text().split("\0"), opened[0], list(opened.values())
        note("started", json.dumps(started), stage)
        return
    if order == "print":
        print("a warning", flush=False)
        return
    if order == "let another continue":
        (stage.out.parent / "continue").touch()
        return
    if order == "wait for another":
        until((stage.out.parent / "continue").exists, "the other process does not get there")
        return
    if order == "wait for the set-up":
        said = select.poll()
        said.register(os.open(stage.out.parent / "set-up", os.O_RDONLY | os.O_NONBLOCK), select.POLLIN)
        if not said.poll(60_000):
            raise TimeoutError("the set-up has not begun")
        return
    if order == "note gpu":
        note("gpu", os.environ["CUDA_VISIBLE_DEVICES"], stage)
        return
    if order == "wait":
        (stage.out.parent / f"waits-{stage.share.number}").write_text(str(os.getpid()))
    elif order:
        until(lambda: list(stage.out.rglob("chunk-*.json")), "no chunk is completed")
        (stage.out.parent / "process").write_text(str(os.getpid()))
    if order == "be killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if order == "terminate the stage":
        os.kill(os.getppid(), signal.SIGTERM)
    if order == "kill the stage":
        os.kill(os.getppid(), signal.SIGKILL)
    if order == "interrupt all":
        os.killpg(0, signal.SIGINT)
    if order:
        signal.pause()


if __name__ == "__main__":
    run_stage(
        stage_of_orders,
        about=__doc__,
        sections={"base": Base},
        inputs={},
        resumable=True,
    )
