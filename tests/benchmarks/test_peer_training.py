"""The peers of the comparison at equal wall time: how they are trained, and of what they are made."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from benchmarks.guarded_run import run_module
from benchmarks.peer_run import run_peer
from benchmarks.peer_training import Budget, Diverged, Recipe, torchvision_factor, torchvision_recipe, train
from pipeline.params.file import load_params
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError
from tests.conftest import ROOT, TINY, apply_overlay, made_once
from tests.defaults import default_content
from tests.in_process import run_stages


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with what a peer reads."""
    overlay = {**TINY, "backbone": {"weights": "random"}}

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "params.yaml").write_text(yaml.safe_dump(apply_overlay(default_content(), overlay), sort_keys=False))
        run_stages(folder, "dataset", "resize", "backbone")

    return made_once(tmp_path_factory, "peer_project", make)


@pytest.fixture
def params(project: Path) -> Params:
    return load_params(project / "params.yaml")


class Seen(nn.Module):
    """A detector that only notes what it is given; its loss is `loss`."""

    def __init__(self, loss: float = 1.0) -> None:
        super().__init__()
        self.weight, self.loss = nn.Parameter(torch.ones(1)), loss
        self.images: list[Tensor] = []
        self.boxes: list[Tensor] = []

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        self.images += images
        self.boxes += [target["boxes"] for target in targets]
        return {"loss": self.weight.sum() * self.loss}


def seen_by(project: Path, recipe: Recipe, images: int) -> Seen:
    model = Seen()
    train(model, project / "data", recipe, Budget(None, images), lr=0.1)
    return model


def test_torchvisions_recipe_mirrors_by_chance(project: Path, params: Params) -> None:
    recipe = torchvision_recipe(params.base, shipped=True, iterations_per_epoch=6)
    model = seen_by(project, recipe, 48)  # four epochs of twelve images
    ways: dict[bytes, set[bytes]] = {}
    for image in model.images:
        way, other = (pixels.contiguous().numpy().tobytes() for pixels in (image, image.flip(2)))
        ways.setdefault(min(way, other), set()).add(way)
    assert (len(model.images), len(ways)) == (48, 12)
    assert {len(seen) for seen in ways.values()} == {1, 2}  # some in both ways, some always in one


def test_our_precision_differs_from_as_shipped_in_precision_and_layout_alone(params: Params) -> None:
    base = params.base.model_copy(update={"precision": "bf16"})
    shipped, same = (torchvision_recipe(base, shipped=own, iterations_per_epoch=100) for own in (True, False))
    assert (shipped.base.precision, same.base.precision) == ("float32", "bf16")
    assert (shipped.channels_last, same.channels_last) == (False, True)
    for recipe in (shipped, same):
        own = (recipe.batch, recipe.momentum, recipe.weight_decay, recipe.clip_norm, recipe.by_chance)
        assert own == (2, 0.9, 1e-4, None, True)


def test_the_warm_up_lasts_an_epoch_or_a_tenth_of_the_time() -> None:
    factor = torchvision_factor(101)
    assert factor(0, 0.0) == pytest.approx(1e-3)
    assert factor(50, 0.01) == pytest.approx(0.5005 * 0.99)
    assert factor(100, 0.01) == pytest.approx(0.99)  # after an epoch
    assert factor(10, 0.1) == pytest.approx(0.9)  # after a tenth of the time
    assert factor(500, 0.75) == pytest.approx(0.25) and factor(900, 1.0) == 0.0
    assert torchvision_factor(5000)(999, 0.0) < 1 == torchvision_factor(5000)(1000, 0.0)


def test_a_loss_that_is_not_finite_ends_the_training(project: Path, params: Params) -> None:
    recipe = torchvision_recipe(params.base, shipped=True, iterations_per_epoch=6)
    with pytest.raises(Diverged, match="iteration 0"):
        train(Seen(float("nan")), project / "data", recipe, Budget(None, 4), lr=0.1)


def test_a_run_that_diverges_is_recorded_with_a_map_of_0(project: Path) -> None:
    # It ends where the loss is not finite, long before its ten minutes.
    record = run_peer(project, "same", seconds=600.0, lr=1e9, seed=0)
    assert (record["mAP50"], record["AP"]) == (0.0, 0.0) and "not finite" in record["diverged"]


def test_a_command_that_fails_is_named_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"json\.tool absent\.json in .* ended with status [12]") as error:
        run_module("json.tool", ["absent.json"], cwd=tmp_path, code=ROOT)
    assert "\n" not in str(error.value) and "absent.json" in capfd.readouterr().err
