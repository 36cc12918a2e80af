"""Prefect's pages in a browser while the graph runs: the stages by name, their logs, their artifacts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY, new_project
from tests.e2e.browser import browser_tab

PATIENCE = 60_000  # milliseconds

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """A tab of a headless Chromium."""
    with browser_tab(PATIENCE) as tab:
        yield tab


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a flow that is under way shows itself; it trains step 1 for a while."""
    longer = {"train_rpn_step1": {"iterations": 600, "lr_drop_at": [599]}}
    project = new_project(tmp_path_factory.mktemp("pages"), {**TINY, **longer})
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    flow = subprocess.Popen(
        [sys.executable, "-u", "-m", "pipeline.cli", "flow"],
        cwd=project.root,
        env={**environment, "PYTHONPATH": str(project.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert flow.stdout is not None
    try:
        yield next(line.split()[-1] for line in flow.stdout if "View at" in line)
    finally:
        flow.terminate()
        flow.communicate()


def test_a_run_under_way_shows_stages_logs_and_artifacts(page: Any, address: str, tmp_path: Path) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(address)
    page.get_by_text("Running", exact=True).first.wait_for()
    page.get_by_text("train and 6 test images").first.wait_for()
    page.screenshot(path=tmp_path / "logs.png")

    page.get_by_text("Task Runs", exact=True).first.click()
    page.get_by_text("step 1: Train the RPN, with a trunk of its own (train_rpn_step1)", exact=True).first.wait_for()
    page.get_by_text(
        "data: Assign fg, bg and ignored anchors to gt boxes (anchor_targets)", exact=True
    ).first.wait_for()
    page.screenshot(path=tmp_path / "tasks.png")

    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text("dataset-picture").first.wait_for()
    page.get_by_text("anchor-targets-picture").first.wait_for()
    page.get_by_text("train-rpn-step1-progress").first.wait_for()
    page.screenshot(path=tmp_path / "artifacts.png")

    page.get_by_text("dataset-picture").first.click()
    picture = page.locator("img[src^='data:image/']").first
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 100
    page.screenshot(path=tmp_path / "picture.png")

    server = address.split("/runs/")[0]
    assert requested and all(url.startswith((server, "data:", "blob:")) for url in requested)
