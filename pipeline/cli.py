"""The commands people type: `frcnn VERB`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import InputError

app = typer.Typer(
    help="Faster R-CNN's alternating training as a graph of stages.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def preset(
    name: Annotated[str, typer.Argument(help="default, or one of the files in pipeline/presets")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="section.key=value, or dataset.root=PATH, backbone.weights=PATH")
    ] = None,
) -> None:
    """Lay a preset and overrides over the committed defaults of params.yaml; link data and weights into data/."""
    from pipeline.presets.apply import apply_preset

    for line in apply_preset(Path.cwd(), name, overrides or []):
        typer.echo(line)


@app.command()
def results() -> None:
    """Print the table of results of the last run and where to look."""
    from pipeline.views.results import results_table

    typer.echo(results_table(Path("data")))


@app.command()
def wire() -> None:
    """Write into dvc.yaml which library modules each stage imports."""
    from pipeline.orchestrate.wiring import rewire

    changed = rewire(Path.cwd())
    typer.echo(f"dvc.yaml: rewired {', '.join(changed)}" if changed else "dvc.yaml: nothing to change")


def main() -> None:
    """Run the command line; bad input ends in one line and status 1."""
    try:
        app()
    except InputError as error:
        print(f"frcnn: error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
