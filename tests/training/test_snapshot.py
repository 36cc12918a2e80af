"""Copies of tensors that are safetensors files."""

from __future__ import annotations

import torch
from safetensors.torch import load

from pipeline.training.snapshot import Snapshot


def test_a_copy_reads_as_what_was_copied_whatever_the_dtype_shape_and_layout() -> None:
    draw = torch.Generator().manual_seed(0)
    floats = torch.randn(3, 5, 4, 2, generator=draw)
    tensors = {
        "odd": torch.arange(3, dtype=torch.uint8),
        "a.channels_last": floats.clone(memory_format=torch.channels_last),
        "transposed": floats[0, :, :, 0].t(),
        "half": floats.half()[:1, :1, :3, :1],
        "low": floats.bfloat16(),
        "count": torch.tensor(7),
        "double": floats.double(),
        "flag": torch.tensor([True, False, True]),
        "none": torch.zeros(0, 4),
    }
    own = Snapshot()
    own.take(tensors)
    found = load(bytes(own.content()))
    assert {name: value.dtype for name, value in found.items()} == {name: t.dtype for name, t in tensors.items()}
    assert all(torch.equal(found[name], value) for name, value in tensors.items())


def test_a_copy_stays_as_it_is_until_the_next_which_takes_its_memory() -> None:
    values, own = torch.ones(1000), Snapshot()
    own.take({"values": values})
    before, place = bytes(own.content()), own.content().obj.__array_interface__["data"]  # type: ignore[attr-defined]
    values.zero_()
    assert bytes(own.content()) == before
    own.take({"values": values})
    assert bytes(own.content()) != before and load(bytes(own.content()))["values"].eq(0).all()
    assert own.content().obj.__array_interface__["data"] == place  # type: ignore[attr-defined]
