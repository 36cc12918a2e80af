"""What a flow shows of its stages in Prefect's pages: progress, figures, pictures, and a summary at the end."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.logging import get_logger

from pipeline.graphs.command import StageCommand
from pipeline.orchestrate.graph import StageNode
from pipeline.orchestrate.record import StageRecord
from pipeline.runtime.errors import InputError
from pipeline.runtime.progress import parse_progress
from pipeline.runtime.words import figure_text
from pipeline.views.encoding import Picture
from pipeline.views.metrics import metrics_of
from pipeline.views.pictures import picture_of
from pipeline.views.results import results_frame


class ProgressArtifact:
    """A bar in the pages that follows the lines of one stage."""

    def __init__(self, node: StageNode, flow_run_id: UUID, task_run_id: UUID) -> None:
        self._node, self._flow_run_id, self._task_run_id = node, flow_run_id, task_run_id
        self._client: SyncPrefectClient | None = None
        self._id: UUID | None = None

    def follow(self, line: str) -> None:
        """Move the bar if the line reports progress."""
        progress = parse_progress(line)
        if progress is None:
            return
        self._move(*progress)

    def finish(self) -> None:
        """Move the bar, if there is one, to its end."""
        if self._id is not None:
            self._move(1.0, "done")

    def _move(self, share: float, text: str) -> None:
        # A stage continues whether or not its bar can be shown.
        try:
            self._show(share, text)
        except Exception as problem:
            get_logger("frcnn").warning("the progress of %s could not be shown: %s", self._node.name, problem)

    def _show(self, share: float, text: str) -> None:
        if self._client is None:
            self._client = get_client(sync_client=True)
        if self._id is None:
            artifact = ArtifactCreate(
                key=f"{_key(self._node.name)}-progress",
                type="progress",
                description=text,
                data=100 * share,
                flow_run_id=self._flow_run_id,
                task_run_id=self._task_run_id,
            )
            self._id = self._client.create_artifact(artifact).id
        else:
            self._client.update_artifact(self._id, ArtifactUpdate(data=100 * share, description=text))


class Gallery:
    """Draws what finished stages left, beside the flow, so that no stage waits for a picture of another."""

    def __init__(self, root: Path, flow_run_id: UUID) -> None:
        self._root, self._flow_run_id = Path(root), flow_run_id
        self._artist = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gallery")
        self._drawn: list[Future[None]] = []

    def show(self, node: StageNode, task_run_id: UUID) -> None:
        """Queue a stage's figures and picture to be drawn."""
        self._drawn.append(self._artist.submit(self._draw, node, task_run_id))

    def close(self) -> None:
        """Wait for the remaining pictures. A stage that cannot be drawn is named in the log, but is not a failure."""
        self._artist.shutdown()
        for drawn in self._drawn:
            problem = drawn.exception()
            if problem is not None:
                get_logger("frcnn").warning("a stage could not be shown: %s", problem)

    def _draw(self, node: StageNode, task_run_id: UUID) -> None:
        try:
            command = StageCommand.parse(node.command)
        except InputError:
            return
        with get_client(sync_client=True) as client:
            figures, picture = metrics_of(command, self._root), picture_of(command, self._root)
            if figures or picture is not None:
                text = stage_text(node, figures, picture)
                self._create(client, node, task_run_id, "picture" if picture else "figures", text)

    def _create(self, client: SyncPrefectClient, node: StageNode, task_run_id: UUID, what: str, text: str) -> None:
        client.create_artifact(
            ArtifactCreate(
                key=f"{_key(node.name)}-{what}",
                type="markdown",
                description=node.label,
                data=text,
                flow_run_id=self._flow_run_id,
                task_run_id=task_run_id,
            )
        )


def stage_text(node: StageNode, figures: Mapping[str, float], picture: Picture | None) -> str:
    """What a page shows of a finished stage, as Markdown: its picture first, then its figures."""
    lines = [f"## {node.title or node.name}", ""]
    if picture is not None:
        encoded = base64.b64encode(picture.data).decode()
        lines += [f"![{node.title}](data:{picture.mime};base64,{encoded})", "", picture.caption, ""]
    if figures:
        lines += ["| figure | value |", "|---|---:|"]
        lines += [f"| {name.replace('_', ' ')} | {value:,.6g} |" for name, value in figures.items()]
    return "\n".join(lines)


def show_summary(root: Path, flow_run_id: UUID, seconds: float, stages: Mapping[str, StageRecord]) -> str:
    """Leave the summary of a flow in the pages; returns its text, Markdown."""
    text = summary_text(Path(root), seconds, stages)
    with get_client(sync_client=True) as client:
        client.create_artifact(
            ArtifactCreate(key="summary", type="markdown", description="Summary", data=text, flow_run_id=flow_run_id)
        )
    return text


def summary_text(root: Path, seconds: float, stages: Mapping[str, StageRecord]) -> str:
    """mAP after each step, then the time of each stage and whether it was cached, as Markdown tables."""
    count = {
        state: sum(stage.state == state for stage in stages.values())
        for state in ("completed", "cached", "failed", "cancelled", "waiting")
    }
    counts = ", ".join(f"{number} {state}" for state, number in count.items() if number)
    lines = [f"{len(stages)} stages in {_clock(seconds)}: {counts}.", ""]
    try:
        results = results_frame(root / "data")
    except InputError:
        lines += ["Nothing evaluated yet.", ""]
    else:
        lines += [f"| network | {' | '.join(results.columns)} |", "|---" * (1 + len(results.columns)) + "|"]
        lines += [f"| {name} | {' | '.join(map(figure_text, row))} |" for name, *row in results.itertuples()]
        lines.append("")
    lines += ["| step | stage | state | time |", "|---|---|---|---|"]
    lines += [
        f"| {stage.step} | {name} | {stage.state} | {_clock(stage.seconds) if stage.attempts else ''} |"
        for name, stage in stages.items()
    ]
    return "\n".join(lines)


def _clock(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _key(stage: str) -> str:
    return stage.replace("_", "-").lower()
