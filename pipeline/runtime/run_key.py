"""The key of a stage's run, made of everything it depends on: unfinished work resumes only under the same key."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from pipeline.artifacts.manifest import MANIFEST
from pipeline.nn.processor import has_amx
from pipeline.params.reading import Params


def run_key(stage: str, params: Params, inputs: Mapping[str, Path | None], code: str) -> str:
    """32 hexadecimal digits that differ with the stage, its parameters, inputs, code and device.

    Args:
        stage: its name in dvc.yaml.
        params: the sections it was given.
        inputs: folders by option. One with a manifest counts by that, another by the names, sizes and times of change
            of its files.
        code: digest of the code and the libraries that its result depends on, see `pipeline.runtime.own_code`.
    """
    digest = hashlib.sha256()

    def add(*parts: str | bytes) -> None:
        for part in parts:
            data = part.encode() if isinstance(part, str) else part
            digest.update(len(data).to_bytes(8, "little") + data)

    add(stage, json.dumps({name: section.model_dump() for name, section in params.sections().items()}, sort_keys=True))
    for option, path in sorted(inputs.items()):
        add(option, _content_of(path) if path is not None else "none")
    add(code)
    device = sys.modules.get("pipeline.runtime.device")
    add(device.gpu_model() if device else "cpu")
    # Kernels are chosen by it, see `pipeline.nn.convolution`.
    add(f"amx {has_amx()}")
    return digest.hexdigest()[:32]


def _content_of(path: Path) -> bytes:
    manifest = path / MANIFEST
    if manifest.is_file():
        return manifest.read_bytes()
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    listing = [(str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return json.dumps(listing).encode()
