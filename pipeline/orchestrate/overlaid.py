"""Lets DVC read some files of a project with other texts than on disk."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dvc.fs import LocalFileSystem


class OverlaidFiles(LocalFileSystem):
    """The local disk, except that some existing files are read with other texts.

    Args:
        texts: by absolute path.
    """

    def __init__(self, texts: Mapping[Path, str], **config: Any) -> None:
        super().__init__(**config)
        self._texts = {os.path.abspath(path): text for path, text in texts.items()}

    def open(self, path: Any, mode: str = "r", **options: Any) -> Any:
        """Open a file, as `open` does."""
        text = self._texts.get(os.path.abspath(path))
        if text is None:
            return super().open(path, mode=mode, **options)
        return io.BytesIO(text.encode()) if "b" in mode else io.StringIO(text)
