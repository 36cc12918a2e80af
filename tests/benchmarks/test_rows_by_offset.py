"""The layouts that are compared hold the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.row_layouts import LAYOUTS, SCHEMAS, VIEWS, views


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_every_layout_gives_back_the_rows_of_each_view(tmp_path: Path, name: str) -> None:
    for place, (write, open_layout) in enumerate(LAYOUTS.values()):
        folder = tmp_path / str(place)
        folder.mkdir()
        write(folder, name, 3, 20)
        read = open_layout(folder, name)
        for view, (_, columns) in enumerate(views(name, 3, 20)):
            found = read(view)
            assert set(found) == set(columns)
            for column, values in columns.items():
                assert np.array_equal(found[column], values), (place, view, column)
    assert view == 3 * VIEWS - 1
