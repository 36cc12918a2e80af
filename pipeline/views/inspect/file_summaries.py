"""Summaries of weights, CSV and JSON files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.views.csv_columns import read_csv
from pipeline.views.inspect.text import number_text, size_text, table_lines

# Longer JSON files are summarised only when they are named.
_LONG_JSON = 4_000_000
_MOST_VALUES = 6


def safetensors_lines(path: Path, tensor_by_tensor: bool) -> Iterator[str]:
    """The parts of a weights file with tensors, parameters and MB; on demand each tensor. Only its header is read.

    Raises:
        InputError: the file is not a safetensors file.
    """
    header = _safetensors_header(path)
    yield f"{path.name}: {count_text(len(header), 'tensor')}, {size_text(path.stat().st_size)}"
    parts: dict[str, list[dict[str, Any]]] = {}
    for name, tensor in header.items():
        parts.setdefault(name.partition(".")[0], []).append(tensor)
    rows = [("part", "tensors", "parameters", "size")]
    for part, tensors in sorted(parts.items()):
        parameters = sum(math.prod(tensor["shape"]) for tensor in tensors)
        size = sum(tensor["data_offsets"][1] - tensor["data_offsets"][0] for tensor in tensors)
        rows.append((part, f"{len(tensors):,}", f"{parameters:,}", size_text(size)))
    yield from table_lines(rows, right=(1, 2, 3))
    if tensor_by_tensor:
        yield ""
        yield from table_lines(
            [
                ("tensor", "shape", "dtype"),
                *((name, str(tuple(own["shape"])), str(own["dtype"])) for name, own in sorted(header.items())),
            ]
        )


def _safetensors_header(path: Path) -> dict[str, dict[str, Any]]:
    """Name to dtype, shape and data_offsets; the file begins with the header's length and a JSON object."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        if any({"dtype", "shape", "data_offsets"} - set(tensor) for tensor in header.values()):
            raise ValueError("a tensor has no dtype, shape or place")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); dvc repro {path.parent.name}") from error
    return dict(header)


def csv_lines(path: Path) -> Iterator[str]:
    """The columns of a CSV file with their ranges, or their values where they are texts."""
    if not path.read_bytes().strip():
        yield f"{path.name}: empty"
        return
    columns = read_csv(path) if path.read_bytes().count(b"\n") > 1 else {}
    rows = next((len(values) for values in columns.values()), 0)
    yield f"{path.name}: {count_text(rows, 'row')}, {size_text(path.stat().st_size)}"
    lines = []
    for name, values in columns.items():
        if values.dtype == np.float64:
            ends = (float(np.min(values)), float(np.max(values)))
            lines.append((name, f"{number_text(ends[0])} to {number_text(ends[1])}", f"mean {values.mean():.4g}"))
        else:
            found, counts = np.unique(values, return_counts=True)
            order = np.argsort(-counts, kind="stable")[:_MOST_VALUES]
            counted = ", ".join(f"{found[i]} {counts[i]:,}" for i in order)
            lines.append((name, counted + (", ..." if len(found) > _MOST_VALUES else ""), ""))
    yield from table_lines(lines)


def json_lines(path: Path, asked_for: bool) -> Iterator[str]:
    """The keys of a JSON file with their values; of a long list of objects the keys with their ranges.

    Raises:
        InputError: the file is not JSON.
    """
    size = path.stat().st_size
    if size > _LONG_JSON and not asked_for:
        yield f"{path.name}: {size_text(size)}; frcnn inspect {path} looks into it"
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable JSON ({error}); dvc repro {path.parent.name}") from error
    if isinstance(content, Mapping):
        yield f"{path.name}: {count_text(len(content), 'key')}, {size_text(size)}"
        yield from table_lines([(str(key), _value(value)) for key, value in content.items()])
    elif isinstance(content, list) and content and all(isinstance(item, Mapping) for item in content):
        yield f"{path.name}: list of {count_text(len(content), 'object')}, {size_text(size)}"
        yield from table_lines([(str(key), _value([item.get(key) for item in content])) for key in content[0]])
    else:
        yield f"{path.name}: {_value(content)}, {size_text(size)}"


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(own)}" for key, own in value.items())
    if not isinstance(value, list):
        return number_text(value)
    if len(value) <= _MOST_VALUES and not any(isinstance(own, list) for own in value):
        return f"[{', '.join(number_text(own) for own in value)}]"
    try:
        numbers = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        return f"list of {len(value):,}: {', '.join(number_text(own) for own in value[:_MOST_VALUES])}, ..."
    shape = " x ".join(f"{side:,}" for side in numbers.shape)
    return f"{shape} numbers, {number_text(float(numbers.min()))} to {number_text(float(numbers.max()))}"
