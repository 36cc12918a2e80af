"""Digests of sources are the same in every version of Python."""

from __future__ import annotations

import pytest

from tests.runtime.code_locks.digests import digest

GOLDEN = {
    "nothing": ("", "b5999633d806a442"),
    "f-strings": (
        """x = f'{a}' f"{b!r:>{w}.{p}f}" 'c' f'''{d["e"]}{{{g}}}'''
y = f"{a=}{ b = !s:^9}{c:%H:%M}{{}}" f"" "" f"{d:}{e!a}"
z = f"{f'{a:{w}}'}" f"{ {1: 2}[1] }{(lambda: 1)()}{a,}" f"no value"
w = "caf\u00e9 \U0001fae8 \u0cf3" f"\U0001fae8{a}\\n\\N{EM DASH}" rf"\\d{a}"
""",
        "bddd54c1f9df29ab",
    ),
    "annotations and generics": (
        """from __future__ import annotations
T = TypeVar("T", bound="int | None")
class A(Generic[T], B[int, ...], metaclass=M):
    x: dict[str, list[T]] = field(default_factory=dict)
    y: Callable[[int, T], None] | None = None
    (z): int
    def f(self, a: T, /, *b: *Ts, c: int = 1, d, **e: Any) -> tuple[T, *Ts]: return a[1:2, ..., ::-1]
""",
        "b957d0ea78114f43",
    ),
    "try, with, match": (
        """try:
    import a.b as c, d
except* (A, B) as e:
    raise C(1) from e
try:
    from ..a import b as c, d
except A: pass
else: x = 1
finally: del x, y[0]
with (a as b, c): assert b, 'no'
match a:
    case {"k": [1, -2.5, *r], **s} | A(1, x=None) as t if t: pass
    case "a" "b" | b"c" | E.F | True: pass
    case _: pass
""",
        "8915dc76742cd04d",
    ),
    "functions": (
        """@a.b(1, *c, k=2, **d)
@e
async def f(x=(y := 1), *, z=None):
    global g, h
    async with a as b, c: await d
    async for i, (j, *k) in e: yield i
    return [i async for i in a if i if j], {i: j for i in a for j in b}, {*a}, {**a, "b": 1}
def f():
    nonlocal a
    x = yield; y = yield from a; b @= c; d //= e; lambda p, *q, r=1, **s: p if not q else -r
    while a < b <= c != d is not e not in f: break
    else: return
""",
        "afaf23ce3de92d69",
    ),
    "constants": (
        """x = [0, -1, 0xffff_ffff_ffff_ffff_ff, 1e400, 1.5e-7, 0.1, 2j, True, None, ...]
y = b"\\x00\\xff", "\\ud800", "'\\"\\t"
for a in b: continue
print(*x, sep='', end="", **y)
""",
        "936546866bc146a7",
    ),
}
"""Sources, and the digests that every version of Python gives them."""


@pytest.mark.parametrize("name", GOLDEN)
def test_every_version_of_python_gives_the_same_digest(name: str) -> None:
    source, golden = GOLDEN[name]
    assert digest(source) == golden
