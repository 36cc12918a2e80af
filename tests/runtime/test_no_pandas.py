"""pyarrow without pandas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

BOTH_WAYS = """
import sys
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

names, numbers = pa.array(["a", None, "b"]), pa.array(np.arange(3.0))
pq.write_table(pa.table({"name": names, "number": numbers, "list": pa.array([[1], [], [2, 3]])}), "a.parquet")
read = pq.read_table("a.parquet")
found = [read.column(name).to_numpy(zero_copy_only=False).tolist() for name in ("name", "number")]
assert found == [["a", None, "b"], [0.0, 1.0, 2.0]]
assert read.to_pylist()[2] == {"name": "b", "number": 2.0, "list": [2, 3]}
"""


def ended_well(code: str, folder: Path) -> bool:
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env={"PYTHONPATH": str(ROOT)}).returncode == 0


def test_tables_are_written_and_read_and_pandas_is_there_when_it_is_asked_for(tmp_path: Path) -> None:
    code = f"""
from pipeline.runtime.no_pandas import keep_pandas_out
keep_pandas_out()
{BOTH_WAYS}
assert "pandas" not in sys.modules
assert read.to_pandas().shape == (3, 3) and "pandas" in sys.modules
"""
    assert ended_well(code, tmp_path)


def test_without_it_pyarrow_imports_pandas(tmp_path: Path) -> None:
    """Where this fails, `keep_pandas_out` can go."""
    assert ended_well(f"{BOTH_WAYS}\nassert 'pandas' in sys.modules", tmp_path)


def test_where_it_is_imported_pyarrow_takes_what_is_of_pandas(tmp_path: Path) -> None:
    code = """
import pandas, pyarrow
from pipeline.runtime.no_pandas import keep_pandas_out
keep_pandas_out()
assert pyarrow.array(pandas.Series(["a", None])).to_pylist() == ["a", None]
"""
    assert ended_well(code, tmp_path)
