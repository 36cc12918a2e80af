"""Weights files: equal bytes, parts by name, and every mismatch named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from torch import nn

from pipeline.artifacts import weight_parts
from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.weights import MODEL_FILE, State, load_part, restore, save_parts
from pipeline.runtime.errors import InputError


def parts() -> dict[str, nn.Module | State]:
    draw = torch.Generator().manual_seed(0)
    return {
        "trunk": {"layers.0.weight": torch.randn(8, 3, 3, 3, generator=draw), "layers.0.bias": torch.zeros(8)},
        "rpn": {"conv.weight": torch.randn(2, 8, generator=draw)},
    }


def test_each_part_comes_back_by_itself(tmp_path: Path) -> None:
    save_parts(tmp_path, parts())
    for part, content in parts().items():
        found = load_part(tmp_path, part)
        assert isinstance(content, dict)
        assert found.keys() == content.keys()
        assert all(torch.equal(found[name], content[name]) for name in content)


def test_a_modules_buffers_are_stored_with_its_weights(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    save_parts(tmp_path, {"head": module})
    assert load_part(tmp_path, "head").keys() == module.state_dict().keys()


def test_equal_weights_give_equal_bytes_whatever_their_order_and_memory_layout(tmp_path: Path) -> None:
    files = []
    for name in ("plain", "turned"):
        (tmp_path / name).mkdir()
        content = parts()
        if name == "turned":
            trunk = content["trunk"]
            assert isinstance(trunk, dict)
            trunk["layers.0.weight"] = trunk["layers.0.weight"].contiguous(memory_format=torch.channels_last)
            content = {part: dict(reversed(list(content[part].items()))) for part in reversed(content)}  # type: ignore[union-attr]
        save_parts(tmp_path / name, content)
        files.append((tmp_path / name / MODEL_FILE).read_bytes())
    assert files[0] == files[1]


def test_failure_leaves_the_former_weights_and_nothing_else(tmp_path: Path) -> None:
    save_parts(tmp_path, parts())
    before = (tmp_path / MODEL_FILE).read_bytes()
    shared = torch.zeros(4)
    with pytest.raises(RuntimeError, match="share memory"):
        save_parts(tmp_path, {"head": {"a": shared, "b": shared}})
    assert (tmp_path / MODEL_FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [MODEL_FILE]


def fault(folder: Path, part: str = "trunk") -> str:
    with pytest.raises(InputError) as caught:
        load_part(folder, part)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{folder / MODEL_FILE}: ")
    assert message.endswith(f"rerun the stage that writes it (dvc repro {folder.name})")
    return message


def test_missing_file_is_told(tmp_path: Path) -> None:
    assert "no such weights file" in fault(tmp_path)


def test_truncated_file_is_told_wherever_it_ends(tmp_path: Path) -> None:
    save_parts(tmp_path, {"trunk": {"w": torch.arange(6.0)}})
    whole = (tmp_path / MODEL_FILE).read_bytes()
    for left in range(len(whole)):
        (tmp_path / MODEL_FILE).write_bytes(whole[:left])
        assert "not a readable safetensors file" in fault(tmp_path)


def test_foreign_file_is_told(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(3)}, tmp_path / MODEL_FILE)
    assert "not a readable safetensors file" in fault(tmp_path)


def test_missing_part_is_told_unless_it_is_optional(tmp_path: Path) -> None:
    save_parts(tmp_path, {"trunk2": {"w": torch.zeros(1)}})
    assert "holds no weights of the trunk" in fault(tmp_path)
    assert load_part(tmp_path, "trunk", optional=True) == {}


def damage(folder: Path, part: str) -> None:
    """Overwrite all bytes of one part."""
    path = folder / MODEL_FILE
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    for name, tensor in json.loads(content[8 : 8 + length]).items():
        if name.startswith(f"{part}."):
            start, end = (8 + length + at for at in tensor["data_offsets"])
            content[start:end] = b"\xff" * (end - start)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(("damaged", "sound"), [("trunk", "rpn"), ("rpn", "trunk")])
def test_of_the_other_parts_no_byte_is_read(tmp_path: Path, damaged: str, sound: str) -> None:
    save_parts(tmp_path, parts())
    write_manifest(tmp_path, tmp_path.name)
    damage(tmp_path, damaged)
    found, expected = load_part(tmp_path, sound), parts()[sound]
    assert isinstance(expected, dict)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert "is damaged (checksum differs)" in fault(tmp_path, damaged)


def test_only_the_header_and_the_part_are_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_parts(tmp_path, {"trunk": {"w": torch.zeros(100_000)}, "rpn": {"w": torch.zeros(10)}})
    write_manifest(tmp_path, tmp_path.name)
    hashed = []
    feed = weight_parts._feed

    def noting(sha256: Any, file: BinaryIO, size: int) -> None:
        hashed.append(size)
        feed(sha256, file, size)

    monkeypatch.setattr(weight_parts, "_feed", noting)
    load_part(tmp_path, "rpn")
    assert hashed == [40]


def test_a_manifest_without_parts_has_the_whole_file_checked(tmp_path: Path) -> None:
    """As version 0.1.0 wrote it."""
    save_parts(tmp_path, parts())
    with pytest.MonkeyPatch.context() as before:
        before.setattr("pipeline.artifacts.manifest.hash_parts", lambda path: {})
        write_manifest(tmp_path, tmp_path.name)
    assert '"parts"' not in (tmp_path / "manifest.json").read_text()
    load_part(tmp_path, "rpn")
    damage(tmp_path, "trunk")
    assert "is damaged (checksum differs)" in fault(tmp_path, "rpn")


@pytest.mark.parametrize(
    "header",
    [
        *(b"", b"[]", b"{", b"null", b'{"trunk.w": 1}', b'{"trunk.w": {"data_offsets": 1}}'),
        *(b'{"trunk.w": {"data_offsets": ["a", 2]}}', b"[" * 100_000, b"\xff" * 9),
    ],
)
def test_a_header_that_is_none_is_told(tmp_path: Path, header: bytes) -> None:
    save_parts(tmp_path, parts())
    write_manifest(tmp_path, tmp_path.name)
    size = (tmp_path / MODEL_FILE).stat().st_size
    content = len(header).to_bytes(8, "little") + header
    (tmp_path / MODEL_FILE).write_bytes(content.ljust(size, b" ")[: max(size, len(content))])
    assert "is damaged (checksum differs)" in fault(tmp_path)


class Small(nn.Module):
    """Three weights, of which `b` and `c` can be wrong at once."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.zeros(2, 3)) for _ in range(3))


def state(**changes: torch.Tensor | None) -> State:
    whole = {name: torch.ones(2, 3) for name in "abc"} | changes
    return {name: value for name, value in whole.items() if value is not None}


def test_fitting_weights_are_restored() -> None:
    module = Small()
    restore(module, state(), "model")
    assert all(bool((value == 1).all()) for value in module.state_dict().values())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"c": torch.ones(3, 2), "b": torch.ones(4)},
            "weight 'b' has shape (4,), the configured network needs (2, 3)",
        ),
        ({"c": torch.ones(3, 2)}, "weight 'c' has shape (3, 2), the configured network needs (2, 3)"),
        ({"b": torch.ones(())}, "weight 'b' has shape (), the configured network needs (2, 3)"),
        ({"b": None, "c": None}, "weight 'b' is missing"),
        ({"d": torch.ones(1)}, "weight 'd' is not part of the configured network"),
    ],
)
def test_first_weight_that_does_not_fit_is_named_and_nothing_is_restored(
    wrong: dict[str, torch.Tensor | None], told: str
) -> None:
    module = Small()
    with pytest.raises(InputError) as caught:
        restore(module, state(**wrong), "data/step2")
    assert str(caught.value).startswith(f"data/step2: {told}")
    assert not any(value.any() for value in module.state_dict().values())
