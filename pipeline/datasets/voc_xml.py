"""VOC's XML files, in whatever encoding: parsed, and the texts and numbers of their tags.

The parser knows Unicode and encodings of one byte a character. Those of several bytes are decoded as the file declares
them. What a file says of its encoding can be wrong: it is then read as Unicode where it is that, or else, where its
class names are plain ASCII, by them alone.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

import defusedxml
import defusedxml.ElementTree

from pipeline.datasets.records import one_line, to_float
from pipeline.runtime.errors import InputError

_DECLARED = re.compile(rb"\s*<\?xml\b[^>]{0,200}?\bencoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,40})[\"']")
# What programs write under a name is often its successor, which has more characters.
_OF_SEVERAL_BYTES = {
    **dict.fromkeys(("gb2312", "gbk", "gb18030"), "gb18030"),
    **dict.fromkeys(("shift_jis", "cp932"), "cp932"),
    **dict.fromkeys(("euc_kr", "cp949"), "cp949"),
    **{name: name for name in ("big5", "big5hkscs", "cp950", "euc_jp", "iso2022_jp", "johab")},
}


_ROOT = "annotation"


class Parsed(NamedTuple):
    """The root element of a file, and what its encoding is where it is not what the file says; "" where it is."""

    root: Element
    encoding: str


def parse_xml(path: Path) -> Parsed:
    """Parse an annotation.

    Raises:
        InputError: it is malformed, declares entities, or its class names are in an encoding that is not known.
    """
    try:
        return Parsed(_element(defusedxml.ElementTree.parse(path).getroot(), path), "")
    except defusedxml.DefusedXmlException as error:
        raise _entities(path, error) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); make it readable") from error
    except (ParseError, ValueError, LookupError) as error:
        other = _decoded(path.read_bytes())
        malformed = InputError(f"{path}: malformed XML ({one_line(error)}); fix or replace the file")
        if other is None:
            raise malformed from error
    text, encoding, is_known = other
    try:
        root = _element(defusedxml.ElementTree.fromstring(text), path)
    except defusedxml.DefusedXmlException as error:
        raise _entities(path, error) from error
    except (ParseError, ValueError):
        raise malformed from None
    if not is_known and not all((item.findtext("name") or "").isascii() for item in root.findall("object")):
        what = f"{path}: {encoding}, and has class names that are not ASCII"
        raise InputError(f"{what}; save it as UTF-8, or declare its encoding in its first line")
    return Parsed(root, encoding)


def _element(root: Element | None, path: Path) -> Element:
    if root is None:
        raise InputError(f"{path}: holds no element; fix or replace the file")
    if root.tag != _ROOT and root.tag.rpartition("}")[2].lower() == _ROOT:
        raise InputError(f"{path}: is a <{root.tag[:60]}>; write VOC's tags in lower case and without xmlns")
    return root


def _entities(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: refused, it declares XML entities ({one_line(error)}); remove its DOCTYPE")


def _decoded(data: bytes) -> tuple[str, str, bool] | None:
    """The text of a file that the parser cannot decode, what its encoding is, and whether that is known; None where
    the encoding is not at fault."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = _as(data, "utf-16")
        return (
            None
            if text is None
            else (_without_declaration(text), "is UTF-16, and not in the encoding that it says", True)
        )
    found = _DECLARED.match(data.removeprefix(codecs.BOM_UTF8))
    declared = found[1].decode() if found else ""
    codec = _OF_SEVERAL_BYTES.get(_codec_name(declared))
    text = _as(data, codec) if codec else None
    if text is not None:
        return _without_declaration(text), "", True
    text = _as(data, "utf-8-sig")
    if text is not None:
        if not declared:
            return None
        what = "" if _codec_name(declared) == "utf-8" else f"is UTF-8, and not in {declared} as it says"
        return _without_declaration(text), what, True
    if b"\0" in data:
        return None
    what = f"is not in {declared} as it says" if declared else "is not in UTF-8 and declares no encoding"
    return _without_declaration(data.decode("latin-1")), what, False


def _codec_name(declared: str) -> str:
    try:
        return codecs.lookup(declared).name
    except LookupError:
        return ""


def _as(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return None


def _without_declaration(text: str) -> str:
    return re.sub(r"^\s*<\?xml\b[^>]*\?>", "", text, count=1)


def text_of(parent: Element, tag: str, where: Path) -> str:
    """What stands in a tag.

    Raises:
        InputError: the tag is missing or empty.
    """
    text = (parent.findtext(tag) or "").strip()
    if not text:
        name = f"<{'><'.join(tag.split('/'))}>"
        if parent.find(tag) is not None:
            raise InputError(f"{where}: {name} in <{parent.tag}> is empty; write what belongs there")
        raise InputError(f"{where}: no {name} in <{parent.tag}>; add the tag")
    return text


def size_of(root: Element, where: Path) -> tuple[float, float] | None:
    """(width, height) in px by tag size; None where a side is missing or both are 0, as tools write that know none.

    Raises:
        InputError: something else stands there than a number.
    """
    sides = []
    for tag in ("size/width", "size/height"):
        text = (root.findtext(tag) or "").strip()
        number = to_float(text)
        if text and number is None:
            raise InputError(f"{where}: {tag} is {text[:40]!r}, not a number; correct it")
        sides.append(number)
    width, height = sides
    return None if width is None or height is None or width == height == 0 else (width, height)
