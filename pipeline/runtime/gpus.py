"""The GPUs of this machine as its driver lists them. Needs no torch."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_DEVICE_FILES = Path("/dev")


def uuids_of_gpus() -> dict[str, str]:
    """The UUID of each GPU by its index, as nvidia-smi lists them; none where it is absent or fails."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    rows = [line.split(", ") for line in listed.stdout.splitlines()] if listed.returncode == 0 else []
    return {row[0]: row[1] for row in rows if len(row) == 2}


def chosen_gpus(visible: str, uuids: dict[str, str]) -> list[str]:
    """The devices of CUDA_VISIBLE_DEVICES: as for CUDA, none from the first that there cannot be, such as -1."""
    devices = []
    for word in visible.split(","):
        name = word.strip()
        if not (name.isdecimal() or name.startswith(("GPU-", "MIG-"))) or (
            uuids and name.isdecimal() and name not in uuids
        ):
            break
        # A UUID may be cut short; one lock a device needs one name for it.
        whole = [uuid for uuid in uuids.values() if uuid.startswith(name)]
        devices.append(uuids.get(name) or (whole[0] if len(whole) == 1 else name))
    return devices


def is_gpu_meant() -> bool:
    """Whether the machine has a GPU, usable or not, and CUDA_VISIBLE_DEVICES does not exclude them.

    A number that no GPU has is taken for a slip, not for a way to say it. Asks the driver, which takes a moment, only
    where CUDA_VISIBLE_DEVICES leaves the question open.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and not chosen_gpus(visible, {}):
        return False
    # A driver that does not fit its kernel module fails nvidia-smi too; but the device's file exists.
    return bool(uuids_of_gpus()) or any(file.name[6:].isdecimal() for file in _DEVICE_FILES.glob("nvidia*"))
