"""Pickles of strangers: plain data is read as pickle would, all else is refused in one line and nothing is run."""

from __future__ import annotations

import builtins
import datetime
import io
import os
import pickle
import sys
import time
import types
from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.exchange import unpickle
from pipeline.exchange.unpickle import read_plain_pickle
from pipeline.runtime.errors import InputError

KINDS = ("b1", "i1", "i2", "<i4", ">i4", "u8", "f2", "<f4", ">f4", "f8")
ARRAYS = st.sampled_from(KINDS).flatmap(
    lambda kind: hnp.arrays(np.dtype(kind), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | ARRAYS
    | ARRAYS.map(np.asfortranarray),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=8,
)


def refusal(content: bytes, tmp_path: Path) -> str:
    """The error of a file with this content, which must be one line that names the file."""
    path = tmp_path / "theirs.pkl"
    path.write_bytes(content)
    before = set(tmp_path.iterdir())
    with pytest.raises(InputError) as error:
        read_plain_pickle(path)
    assert set(tmp_path.iterdir()) == before
    message = str(error.value)
    assert "\n" not in message and message.startswith(f"{path}: ") and len(message) < len(str(path)) + 400
    return message


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, np.ndarray):
        theirs = theirs.astype(theirs.dtype.newbyteorder("="))
        equal = ours.dtype == theirs.dtype and ours.shape == theirs.shape
        return equal and ours.tobytes() == theirs.tobytes()
    if isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in theirs)
    return type(ours) is type(theirs) and ours == theirs


@given(PLAIN, st.integers(0, 5))
def test_plain_data_is_what_pickle_makes_of_it(
    tmp_path_factory: pytest.TempPathFactory, content: Any, protocol: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "plain.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert same(read_plain_pickle(path), pickle.loads(path.read_bytes()))


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_scalars_are_numbers_sets_and_tuples_are_lists_and_shared_parts_stay_shared(
    tmp_path: Path, protocol: int
) -> None:
    row = np.arange(4.0)
    content = {"n": np.int64(7), "f": np.float32(0.5), "t": (1, (2, 3)), "s": {4}, "twice": [row, row]}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    read = read_plain_pickle(tmp_path / "a.pkl")
    assert (read["n"], read["f"], read["t"], read["s"]) == (7, 0.5, [1, [2, 3]], [4])
    assert read["twice"][0] is read["twice"][1]


def test_numpy_1_and_python_2_wrote_other_names_and_bytes_as_text(tmp_path: Path) -> None:
    array = np.array([[1.5, -2.0]], dtype="<f4")
    new = pickle.dumps([array], protocol=3)
    assert b"numpy._core.multiarray" in new
    (tmp_path / "old.pkl").write_bytes(new.replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"))
    assert same(read_plain_pickle(tmp_path / "old.pkl"), [array])
    raw = array.tobytes()
    python_2 = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x01K\x02\x86"
    )
    python_2 += b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    python_2 += b"U" + bytes([len(raw)]) + raw + b"tb."
    (tmp_path / "python_2.pkl").write_bytes(python_2)
    assert same(read_plain_pickle(tmp_path / "python_2.pkl"), array)


class Marker:
    """Calls something with something when it is unpickled the usual way."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def gadgets() -> dict[str, Any]:
    array = np.empty(2, dtype=object)
    array[:] = [Marker(os.system, "touch executed"), 1]
    return {
        "posix.system": Marker(os.system, "touch executed"),
        "builtins.eval": Marker(builtins.eval, "open('executed', 'w')"),
        "builtins.getattr": Marker(getattr, "a", "upper"),
        "dtype 'O8'": array,
        "collections.OrderedDict": OrderedDict(a=1),
        "fractions.Fraction": Fraction(1, 2),
        "datetime.date": datetime.date(2020, 1, 1),
        "builtins.bytearray": Marker(bytearray, 10**12),
        "numpy.matrix": Marker(np.matrix, "1 2"),
    }


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory in which nothing may be executed."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
@pytest.mark.parametrize("name", gadgets())
def test_what_could_run_code_is_named_and_not_run(inside: Path, name: str, protocol: int) -> None:
    named = name.replace("builtins.", "__builtin__.") if protocol < 3 else name
    for content in (gadgets()[name], {"ids": ["a"], "boxes": [[gadgets()[name]]]}):
        assert named in refusal(pickle.dumps(content, protocol=protocol), inside)


def test_the_usual_reader_does_run_them(inside: Path) -> None:
    pickle.loads(pickle.dumps(gadgets()["posix.system"]))
    assert (inside / "executed").exists()
    (inside / "executed").unlink()


def test_persistent_ids_and_the_registry_of_extensions_are_refused(tmp_path: Path) -> None:
    class Pickler(pickle.Pickler):
        def persistent_id(self, thing: Any) -> Any:
            return "elsewhere" if thing == "x" else None

    for protocol in (0, 4):
        stream = io.BytesIO()
        Pickler(stream, protocol).dump(["x"])
        assert "persistent id" in refusal(stream.getvalue(), tmp_path)
    assert "EXT1" in refusal(b"\x80\x02\x82\x01.", tmp_path)
    buffers: list[pickle.PickleBuffer] = []
    outside = pickle.dumps(np.zeros(3), protocol=5, buffer_callback=buffers.append)
    assert "NEXT_BUFFER" in refusal(outside, tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"(S'touch executed'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'touch executed'\no.", "os.system"),
        (b"(cnumpy\nndarray\nS'x'\no.", "opcode OBJ"),
        (b"cnumpy\nndarray\n(I1000000000000\ntR.", "makes a 'numpy.ndarray'"),
        (b"cnumpy\nndarray\n.", "holds something that is not a list"),
        (b"(lp0\ncnumpy\ndtype\n(N}S'__code__'\nI1\nstb.", "gives a state"),
        (b"cnumpy\ndtype\n(S'f4'\ntR(I3\nS'<'\nN(S'a'\nt}tb.", "array of records"),
        (b"c_codecs\nencode\n(Vx\nVzip\ntR.", "codec other than latin1"),
        (b"(c__builtin__\nset\n(tRI1\nd.", "keys that are neither strings nor whole numbers"),
        (
            b"cnumpy._core.multiarray\n_reconstruct\n(tR(I1\n(I9\ntcnumpy\ndtype\n(S'f4'\ntRI00\nS'abcd'\ntb.",
            "disagree",
        ),
        (
            b"cnumpy._core.multiarray\n_reconstruct\n(tR(I1\n(I-1\ntcnumpy\ndtype\n(S'f4'\ntRI00\nS'abcd'\ntb.",
            "malformed",
        ),
        (b"\x80\x04\x8a\xff" + b"\xff" * 254 + b"\x01.", "more than 64 bits"),
        (b"I1\nI2\n.", "leaves no single object"),
        (b"", "not a readable pickle"),
        (b"\x93NUMPY\x01\x00", "not a readable pickle"),
        (b'{"ids": []}', "not a readable pickle"),
        (b"\x80\x04", "not a readable pickle"),
        (b"0.", "opcode POP"),
        (b"h\x05.", "not a readable pickle"),
        (b"e.", "not a readable pickle"),
    ],
)
def test_crafted_opcodes_and_files_that_are_no_pickles(inside: Path, content: bytes, expected: str) -> None:
    assert expected in refusal(content, inside)


@given(st.data())
def test_a_damaged_file_is_one_line_or_plain_data(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = pickle.dumps(
        {"ids": ["a", 1], "boxes": [np.ones((2, 4), np.float32)]}, protocol=data.draw(st.integers(0, 5))
    )
    cut = data.draw(st.integers(0, len(whole) - 1))
    at, byte = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    path.write_bytes(whole[:cut])
    with pytest.raises(InputError):
        read_plain_pickle(path)
    path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
    try:
        read_plain_pickle(path)
    except InputError as error:
        assert "\n" not in str(error)


def test_files_made_to_eat_memory_or_the_stack_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = time.monotonic()
    huge = (10**15).to_bytes(8, "little")
    for opcode in (b"\x8e", b"\x8d", b"\x96", b"\x95"):  # BINBYTES8, BINUNICODE8, BYTEARRAY8, FRAME
        assert "not a readable pickle" in refusal(b"\x80\x05" + opcode + huge + b"abc", tmp_path)
    (tmp_path / "memo.pkl").write_bytes(b"]r\xff\xff\xff\xff.")
    assert read_plain_pickle(tmp_path / "memo.pkl") == []
    assert "deep" in refusal(b"]" * 50 + b"a" * 49 + b".", tmp_path)
    assert "deep" in refusal(b"]q\x00h\x00a.", tmp_path)  # a list in itself
    assert "deep" in refusal(b")" + b"\x85" * 200_000 + b".", tmp_path)
    assert "keys" in refusal(b"})" + b"\x85" * 200_000 + b"K\x01s.", tmp_path)
    laughs = b"]q\x00"
    for level in range(6):  # each list holds the one before it a hundred times: 100 ** 6 if each were visited
        laughs += b"](" + bytes([ord("h"), level]) * 100 + bytes([ord("e"), ord("q"), level + 1])
    (tmp_path / "laughs.pkl").write_bytes(b"(" + laughs + b"l.")
    assert [len(part) for part in read_plain_pickle(tmp_path / "laughs.pkl")] == [0] + [100] * 6
    monkeypatch.setattr(unpickle, "MOST_OPCODES", 1000)
    assert "more than 1,000 opcodes" in refusal(b"(" + b"}" * 2000 + b"l.", tmp_path)
    assert time.monotonic() - started < 20


def test_a_container_of_mmengine_is_read_as_the_dict_of_its_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("mmengine.structures.instance_data")

    class InstanceData:
        def __init__(self, **fields: Any) -> None:
            self.__dict__.update(_metainfo_fields=set(), _data_fields=set(fields), **fields)

    InstanceData.__module__, InstanceData.__qualname__ = module.__name__, "InstanceData"
    module.InstanceData = InstanceData  # type: ignore[attr-defined]
    for name in ("mmengine", "mmengine.structures"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for protocol in (2, 4):
        content = pickle.dumps({"a/b.jpg": InstanceData(bboxes=np.ones((1, 4)), scores=np.ones(1))}, protocol=protocol)
        (tmp_path / "mm.pkl").write_bytes(content)
        read = read_plain_pickle(tmp_path / "mm.pkl")
        assert list(read) == ["a/b.jpg"] and sorted(read["a/b.jpg"]) == ["bboxes", "scores"]


def test_a_file_that_is_not_there_or_a_folder_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pkl", tmp_path):
        with pytest.raises(InputError, match="check that it is a file that can be read"):
            read_plain_pickle(path)
