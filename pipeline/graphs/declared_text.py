"""The text of a YAML file that declares something of a family: its graph, or its parameters."""

from __future__ import annotations

from pathlib import Path

from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import YamlError


def declared_text(file: Path, purpose: str) -> str:
    """The text of `file`.

    Args:
        purpose: what is declared there, for the message where the file is missing.

    Raises:
        InputError: the file is missing, or is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{file}: no such file; {purpose} there") from None
    except UnicodeDecodeError as error:
        raise YamlError(f"{file}: not valid YAML (byte {error.start + 1} is not UTF-8); save it as UTF-8") from None
