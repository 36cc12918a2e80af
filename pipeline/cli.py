"""The command line: `frcnn VERB`."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.bundle.commands import VERBS as bundle_verbs
from pipeline.datasets.file_names import printable
from pipeline.exchange.commands import app as proposals_app
from pipeline.runtime.errors import InputError, StartedOtherwise, is_disk_full, is_out_of_memory
from pipeline.runtime.surroundings import name_user
from pipeline.runtime.version import current_version
from pipeline.views.commands import VERBS as looking_verbs

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(proposals_app, name="proposals")
for bundle_verb in bundle_verbs:
    app.command()(bundle_verb)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(current_version())
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """Object detectors, trained as a graph of stages."""


@app.command()
def preset(
    name: Annotated[str, typer.Argument(help="default, or another preset of docs/presets.md")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="section.key=value, or dataset.root, backbone.weights, init.detector, proposals.file=PATH"),
    ] = None,
    length: Annotated[
        float, typer.Option(help="multiply the iterations of every training, such as 0.1 for a quick look")
    ] = 1.0,
) -> None:
    """Write params.yaml and dvc.yaml of a preset, with overrides, and link data, weights and proposals into data/."""
    from pipeline.orchestrate.workspace import refuse_under_a_run
    from pipeline.presets.apply import apply_preset

    refuse_under_a_run(Path.cwd())
    for line in apply_preset(Path.cwd(), name, overrides or [], length):
        typer.echo(line)


@app.command()
def graph() -> None:
    """Regenerate dvc.yaml from the files in graphs/, for the family that params.yaml names."""
    from pipeline.families.registry import present_family
    from pipeline.graphs.writing import graph_to_write, write_graph
    from pipeline.orchestrate.workspace import refuse_under_a_run

    refuse_under_a_run(Path.cwd())
    typer.echo(write_graph(Path(), graph_to_write(Path(), present_family().name)))


@app.command("check-data")
def check_data(
    path: Annotated[Path | None, typer.Argument(help="data root; default: data/raw", show_default=False)] = None,
    preset: Annotated[
        str | None, typer.Option(help="use the parameters of this preset, not those of params.yaml")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, for this check only; may be repeated")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="do not decode images, so damage inside them is not found")
    ] = False,
    out: Annotated[Path, typer.Option(help="picture to write, a .png")] = Path("data-check.png"),
) -> None:
    """Check a data set before anything runs: its faults, its boxes, and whether the anchors fit them.

    Ends with status 1 if something would stop a run.
    """
    from pipeline.preflight.command import check_data

    if not check_data(path, preset, out, typer.echo, settings or (), decode=not quick):
        raise typer.Exit(1)


@app.command()
def split(
    path: Annotated[Path | None, typer.Argument(help="data root; default: data/raw", show_default=False)] = None,
    val: Annotated[float | None, typer.Option(help="share of the images for val, dataset.split.val")] = None,
    test: Annotated[float | None, typer.Option(help="share of the images for test, dataset.split.test")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of the split, dataset.split.seed")] = None,
    group: Annotated[
        str | None, typer.Option(help="regular expression for images to keep together, dataset.split.group")
    ] = None,
    near: Annotated[
        bool | None, typer.Option("--near/--no-near", help="keep nearly equal photos together, dataset.split.near")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="use the parameters of this preset, not those of params.yaml")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, for this split only; may be repeated")
    ] = None,
    out: Annotated[Path, typer.Option(help="table to write, one row per image, a .csv")] = Path("split.csv"),
) -> None:
    """Divide a data set into train, val and test as dataset.split would, and show the result."""
    from pipeline.preflight.splitting import split_data

    options = {"val": val, "test": test, "seed": seed, "group": group, "near": near}
    split_data(path, preset, out, typer.echo, settings or (), options)


@app.command("fetch-data")
def fetch_data(
    name: Annotated[str, typer.Argument(help="voc2007, voc2012, or voc0712 for both")],
    to: Annotated[Path, typer.Option(help="folder for the archives and VOCdevkit; created if missing")],
) -> None:
    """Download Pascal VOC, and print the command that trains on it."""
    from pipeline.datasets.fetching import fetch_voc

    typer.echo(fetch_voc(name, to, typer.echo))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def repro(context: typer.Context) -> None:
    """Clean up after a killed run, then run the stages that are not up to date. Takes the arguments of `dvc repro`."""
    from pipeline.orchestrate.repro import run_repro

    run_repro(Path.cwd(), context.args)


@app.command()
def flow(
    stages: Annotated[
        list[str] | None, typer.Argument(help="run these stages and those they depend on; default: all")
    ] = None,
    on_workers: Annotated[bool, typer.Option(help="run the stages on workers of the pools cpu and gpu")] = False,
) -> None:
    """Run the graph under Prefect, with pages at the address it prints. Ctrl-C stops it; the next run resumes."""
    if on_workers:
        from pipeline.workers.commands import run_on_workers

        run_on_workers(Path.cwd(), stages or [], typer.echo)
        return
    from pipeline.orchestrate.commands import run_flow

    run_flow(Path.cwd(), stages or [], typer.echo)


@app.command()
def ui() -> None:
    """Keep Prefect's pages open on this machine until Ctrl-C."""
    from pipeline.orchestrate.commands import keep_pages_open

    keep_pages_open(Path.cwd(), typer.echo)


@app.command()
def gc(
    dry: Annotated[bool, typer.Option("--dry", help="only show what would be removed")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", "--force", "-f", help="do not ask for confirmation")] = False,
    all_branches: Annotated[
        bool, typer.Option("--all-branches", help="also keep what the tips of all branches need")
    ] = False,
    all_tags: Annotated[bool, typer.Option("--all-tags", help="also keep what all tags need")] = False,
    all_commits: Annotated[bool, typer.Option("--all-commits", help="also keep what all commits need")] = False,
    projects: Annotated[
        list[Path] | None,
        typer.Option("--project", help="also keep what this clone, with the same cache, needs; may be repeated"),
    ] = None,
) -> None:
    """Remove from DVC's cache what neither the workspace (of any family) nor the experiments need."""
    from pipeline.orchestrate.gc import collect_garbage
    from pipeline.orchestrate.gc_needs import Revisions

    if not (dry or yes or sys.stdin.isatty()):
        raise InputError("cannot ask for confirmation here; give --yes, or --dry to see what would be removed")
    revisions = Revisions(all_branches, all_tags, all_commits)
    collect_garbage(Path.cwd(), typer.echo, None if yes else typer.confirm, revisions, projects or (), dry)


@app.command()
def worker(pool: Annotated[str, typer.Option(help="Prefect work pool to serve")] = "local") -> None:
    """Serve Prefect's work pool until Ctrl-C: run the graph whenever someone presses Run in its pages.

    With --pool cpu or gpu: run the stages that coordinators ask for (frcnn flow --on-workers, frcnn sweep).
    """
    if pool in ("cpu", "gpu"):
        from pipeline.workers.serving import serve_stages

        serve_stages(Path.cwd(), pool, typer.echo)
        return
    from pipeline.orchestrate.worker import run_worker

    run_worker(Path.cwd(), pool, typer.echo)


for looking_verb in looking_verbs:
    app.command()(looking_verb)


@app.command()
def ablations(
    names: Annotated[list[str] | None, typer.Argument(help="ablations to run; default: all")] = None,
    show: Annotated[bool, typer.Option("--list", help="only list them")] = False,
) -> None:
    """Run the family's ablations as DVC experiments, each one change from params.yaml, and print a table."""
    from pipeline.orchestrate.ablations import ablations_of, run_ablations
    from pipeline.params.file import load_params

    if show:
        for ablation in ablations_of(load_params(Path("params.yaml"))):
            changes = ", ".join(f"{key}={value}" for key, value in ablation.changes.items())
            typer.echo(f"{ablation.name}: {changes or 'params.yaml as it stands'}; network {ablation.network}")
        return
    typer.echo(run_ablations(Path.cwd(), names or [], typer.echo).to_string(float_format="{:.3f}".format))


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="YAML file with the changes to try; see docs/workers.md")],
) -> None:
    """Try changes of params.yaml as DVC experiments on workers, choose the best on val, and print a table."""
    from pipeline.workers.sweep import run_sweep

    run_sweep(Path.cwd(), file, typer.echo)


@app.command()
def status(
    why: Annotated[bool, typer.Option("--why", help="show the chain of imports from each stage to the change")] = False,
) -> None:
    """List the stages that would run now, and why: a module, a parameter or an input has changed."""
    from pipeline.graphs.writing import graph_to_make
    from pipeline.orchestrate.status import stage_status

    if note := graph_to_make(Path.cwd()):
        typer.echo(note, err=True)
    for line in stage_status(Path.cwd(), why):
        typer.echo(line)


@app.command()
def doctor(
    link: Annotated[
        str | None,
        typer.Option("--link", help="have DVC link data/ to its cache by reflink, hardlink, symlink or copy"),
    ] = None,
) -> None:
    """Check this machine: cores, memory, GPU, disk, DVC's cache, locks. Status 1 where a run would fail."""
    from pipeline.orchestrate.doctor import examine, set_links
    from pipeline.orchestrate.workspace import refuse_under_a_run

    if link is not None:
        refuse_under_a_run(Path.cwd())
        typer.echo(set_links(Path.cwd(), link))
    elif not examine(Path.cwd(), typer.echo):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; bad input, too little memory, a full disk, a file that may not be written end in one line
    and status 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may not be UTF-8
    name_user(os.environ)
    try:
        app()
    except Exception as error:
        message = _in_one_line(error)
        if not message:
            raise
        print(f"frcnn: error: {message}", file=sys.stderr)
        sys.exit(1)


def _in_one_line(error: Exception) -> str:
    """The message for an exception that the program did not cause; empty for others."""
    if isinstance(error, InputError | StartedOtherwise):
        return str(error)
    if isinstance(error, SyntaxError) and error.filename:  # a module that a verb imports
        return f"{error.filename}:{error.lineno}: {error.msg}; fix it"
    text = " ".join(str(error).split())[:120]
    if is_out_of_memory(error):
        remedy = "give smaller images, or where the command has the option, --device cpu"
        return f"out of memory{text and f' ({text})'}; {remedy}"
    if is_disk_full(error):
        return f"disk full ({text}); free space and run again"
    if isinstance(error, OSError) and error.filename is not None:
        place = error.filename2 or error.filename  # of two, the one that was to be made
        return f"{printable(os.fsdecode(place))}: {error.strerror or text}; check that it can be read and written"
    return ""


if __name__ == "__main__":
    main()
