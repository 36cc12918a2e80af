"""Reads untrusted pickles without running anything.

A pickle is a program: `pickle.load` imports and calls whatever it names. Here `pickletools` parses the opcodes and this
module interprets only those that lists, dicts, strings, numbers and arrays of numbers need. Nothing is imported and
nothing of numpy's is called before shape, dtype and length agree. The few names that numpy's arrays carry are
recognised by their text; any other name, and any other opcode, ends the reading.

Source: PEP 307, PEP 3154 and PEP 574 (the opcodes), the docstrings of `pickletools`.
"""

from __future__ import annotations

import math
import mmap
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from pipeline.runtime.errors import InputError

# An opcode can make an object of a hundred bytes from one byte of the file, so this bounds memory, to 1.5 GB beyond
# the arrays. Boxes and scores of COCO's 123,000 images take 8 million at most.
MOST_OPCODES = 10_000_000
_DEEPEST = 8
_PERSISTENT = {"PERSID", "BINPERSID"}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = re.compile(r"[<>|=]?([biu][1248]|f[248])")


class _Refused(Exception):
    """What is wrong with the pickle, without the file's name."""


@dataclass(frozen=True)
class _Name:
    """A name that numpy's arrays carry, kept as text."""

    text: str


@dataclass(eq=False)
class _DType:
    spec: str
    order: str = "="

    def build(self, state: Any) -> None:
        """State of a dtype: version, byte order, subarray, names, fields, and more."""
        if not isinstance(state, tuple) or len(state) < 5 or state[2:5] != (None, None, None):
            raise _Refused("holds an array of records; only arrays of numbers are read")
        self.order = state[1] if state[1] in ("<", ">", "|", "=") else "="

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.spec).newbyteorder("=" if self.order == "|" else self.order)  # type: ignore[arg-type]


@dataclass(eq=False)
class _Array:
    value: np.ndarray | None = None

    def build(self, state: Any) -> None:
        """State of an array: version, shape, dtype, whether in Fortran's order, and the bytes."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("holds a malformed array")
        _, shape, dtype, fortran, raw = state
        self.value = _array(raw, dtype, shape, "F" if fortran else "C")


def _array(raw: Any, dtype: Any, shape: Any, order: Any = "C", axes: Any = None) -> np.ndarray:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw  # bytes as Python 2 wrote them
    shape_is_plain = isinstance(shape, tuple) and all(type(side) is int and 0 <= side < 2**40 for side in shape)
    if not isinstance(dtype, _DType) or not isinstance(raw, bytes | bytearray) or not shape_is_plain or len(shape) > 4:
        raise _Refused("holds a malformed array")
    kind = dtype.dtype()
    if math.prod(shape) * kind.itemsize != len(raw) or order not in ("C", "F") or axes is not None:
        raise _Refused("holds an array whose shape and bytes disagree")
    return np.ndarray(shape, kind, buffer=raw, order=order).astype(kind.newbyteorder("="), copy=False)


def _new_dtype(spec: Any, *_: Any) -> _DType:
    if not isinstance(spec, str) or not _NUMBERS.fullmatch(spec):
        raise _Refused(f"holds an array of dtype {str(spec)[:20]!r}; only arrays of numbers are read")
    return _DType(spec)


def _latin1(text: Any, codec: Any) -> bytes:
    if not isinstance(text, str) or codec != "latin1":
        raise _Refused("holds bytes in a codec other than latin1")
    return text.encode("latin1")


_CALLS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": _new_dtype,
    "_codecs.encode": _latin1,
    **{f"{module}.bytes": lambda: b"" for module in ("builtins", "__builtin__")},
    **{f"{module}.set": lambda items=(): list(items) for module in ("builtins", "__builtin__")},
}
for _core in ("numpy.core", "numpy._core"):
    _CALLS[f"{_core}.multiarray._reconstruct"] = lambda *_: _Array()
    _CALLS[f"{_core}.multiarray.scalar"] = lambda dtype, raw: _array(raw, dtype, ()).item()
    _CALLS[f"{_core}.numeric._frombuffer"] = lambda *arguments: _Array(_array(*arguments))
# mmdetection 3 pickles its container of fields instead of a dict; it is read as the dict of its public fields.
_AS_DICT = {f"mmengine.{module}.instance_data.InstanceData" for module in ("structures", "data")}
_NAMES = {*_CALLS, *_AS_DICT, "numpy.ndarray"}


class _Machine:
    """The pickle machine: a stack, marks and a memo, for the opcodes of plain data."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        """Carry out one opcode."""
        stack = self._stack
        if opcode in _LITERALS:
            if type(argument) is int and not -(2**63) <= argument < 2**64:
                raise _Refused("holds a whole number of more than 64 bits")
            stack.append(argument)
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in ("EMPTY_LIST", "EMPTY_SET"):
            stack.append([])
        elif opcode == "EMPTY_DICT":
            stack.append({})
        elif opcode == "EMPTY_TUPLE":
            stack.append(())
        elif opcode == "MARK":
            self._marks.append(len(stack))
        elif opcode in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = stack[-1]
        elif opcode == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memo[argument])
        elif opcode in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack[-int(opcode[-1]) :] = [tuple(stack[-int(opcode[-1]) :])]
        elif opcode == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif opcode == "LIST":
            stack.append(self._since_mark())
        elif opcode == "DICT":
            items = self._since_mark()
            stack.append({})
            self._set_items(items)
        elif opcode in ("APPEND", "APPENDS", "ADDITEMS"):
            items = [stack.pop()] if opcode == "APPEND" else self._since_mark()
            self._target(list).extend(items)
        elif opcode in ("SETITEM", "SETITEMS"):
            items = [stack.pop(-2), stack.pop()] if opcode == "SETITEM" else self._since_mark()
            self._set_items(items)
        elif opcode in ("GLOBAL", "STACK_GLOBAL"):
            parts = argument.split(" ") if opcode == "GLOBAL" else [stack.pop(-2), stack.pop()]
            stack.append(_name(parts))
        elif opcode in ("REDUCE", "NEWOBJ"):
            arguments, name = stack.pop(), stack.pop()
            stack.append(_call(name, arguments))
        elif opcode == "BUILD":
            self._build(stack.pop())
        elif opcode in _PERSISTENT:
            raise _Refused("refers to an object outside of the file (a persistent id)")
        elif opcode == "INST":
            raise _Refused(f"names {_name(argument.split(' ')).text} as a class to make an object of")
        elif opcode not in ("PROTO", "FRAME"):
            raise _Refused(f"uses the opcode {opcode}, which no plain data needs")

    def result(self) -> Any:
        """The one remaining object."""
        if len(self._stack) != 1 or self._marks:
            raise _Refused("is malformed: it leaves no single object")
        return self._stack[0]

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _target(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise _Refused(f"is malformed: it takes something else for a {kind.__name__}")
        return self._stack[-1]

    def _set_items(self, items: list[Any]) -> None:
        # Keys of other types would be hashed, and hashing tuples nested a million deep overflows C's stack.
        if any(type(key) not in (str, int) for key in items[::2]):
            raise _Refused("holds a dict with keys that are neither strings nor whole numbers")
        self._target(dict).update(zip(items[::2], items[1::2], strict=True))

    def _build(self, state: Any) -> None:
        made = self._stack[-1]
        if isinstance(made, _Array | _DType):
            made.build(state)
        elif type(made) is dict and type(state) is dict:
            made.update({key: value for key, value in state.items() if str(key)[:1] != "_"})
        else:
            raise _Refused("gives a state to an object that has none")


def _name(parts: list[Any]) -> _Name:
    text = ".".join(map(str, parts))
    if text not in _NAMES:
        raise _Refused(f"names {text[:100]!r}, which is not a list, dict, string, number or array of numbers")
    return _Name(text)


def _call(name: Any, arguments: Any) -> Any:
    if not isinstance(name, _Name) or not isinstance(arguments, tuple):
        raise _Refused("is malformed: it calls something that is not a name")
    if name.text in _AS_DICT:
        return {}
    if name.text not in _CALLS:
        raise _Refused(f"makes a {name.text!r} in a way that no array needs")
    return _CALLS[name.text](*arguments)


def _plain(value: Any, done: dict[int, Any], depth: int = 0) -> Any:
    """`value` with arrays in place of what stands for them; a shared part is visited once, whatever refers to it."""
    if (
        isinstance(value, str | bool | int | float | np.ndarray)
        or value is None
        or (type(value) in (list, dict) and not value)
    ):
        return value
    if id(value) in done:
        return done[id(value)]
    if depth > _DEEPEST:
        raise _Refused(f"nests lists and dicts more than {_DEEPEST} deep")
    plain: Any
    if isinstance(value, list | tuple):
        plain = [_plain(item, done, depth + 1) for item in value]
    elif isinstance(value, dict):
        plain = {key: _plain(item, done, depth + 1) for key, item in value.items()}
    elif isinstance(value, _Array) and value.value is not None:
        plain = value.value
    else:
        raise _Refused("holds something that is not a list, dict, string, number or array of numbers")
    done[id(value)] = plain
    return plain


def read_plain_pickle(path: Path) -> Any:
    """The lists, dicts, strings, numbers and arrays of numbers in a pickle of protocol 0 to 5.

    Tuples and sets become lists; mmengine's `InstanceData` becomes the dict of its public fields. Arrays have the
    machine's byte order and may be read-only.

    Raises:
        InputError: the file cannot be read, is not a pickle or a damaged one, or holds anything else, which is named.
    """
    path = Path(path)
    advice = "use a file of plain lists, dicts, strings, numbers and numpy arrays"
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
            machine = _Machine()
            # A mapped file never reads past its end, so a length that the file claims cannot ask for more memory.
            for count, (opcode, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], stream))):
                if count >= MOST_OPCODES:
                    raise _Refused(f"holds more than {MOST_OPCODES:,} opcodes, more than proposals need")
                if opcode.name == "STOP":
                    break
                machine.step(opcode.name, argument)
            return _plain(machine.result(), {})
    except _Refused as error:
        raise InputError(f"{path}: {error}; it was not read further, {advice}") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; check that it is a file that can be read") from error
    except Exception as error:  # a damaged pickle can fail at any opcode, in any way
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise InputError(f"{path}: not a readable pickle ({reason}); {advice}") from error
