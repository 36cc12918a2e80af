"""The comparison at equal wall time: what is run, what is kept, and which figures come of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import equal_time
from benchmarks.equal_time_page import Comparison, bars, mean_and_error, ours_name, peer_name, tables
from benchmarks.equal_time_task import FEW, task_of
from benchmarks.our_run import Scratch
from benchmarks.pieces import Pieces, digest
from pipeline.families.registry import family_of
from pipeline.runtime.errors import InputError
from tests.conftest import ROOT

LRS = (0.0025, 0.005, 0.01)
BEST = {"shipped": 0.005, "same": 0.01}


def network(map50: float, ap: float) -> dict[str, float]:
    return {"mAP50": map50, "AP": ap}


def kept(path: Path, seeds: int = 3, kinds: tuple[str, ...] = ("shipped", "same")) -> Pieces:
    """Ours at all seeds, all rates of the peers at seed 0, the best at the others."""
    pieces = Pieces(path, "settings")
    for seed in range(seeds):
        ours = {
            "seed": seed,
            "seconds": 600.4 + seed,
            "step4": network(0.6, 0.3),
            "joint": network(0.7 + seed / 100, 0.21),
        }
        pieces.done(ours_name(seed), lambda ours=ours: {"side": "ours", **ours})
        for kind in kinds:
            for lr in LRS if seed == 0 else [BEST[kind]]:
                figures = network(0.6 if lr == BEST[kind] else 0.5, 0.1 + seed / 10)
                record = {"side": kind, "seed": seed, "lr": lr, "seconds": 600.0, "images": 1000, **figures}
                pieces.done(peer_name(kind, lr, seed, 600 + seed), lambda record=record: record)
    return pieces


def test_the_best_learning_rate_of_the_first_seed_is_taken_for_the_others(tmp_path: Path) -> None:
    comparison = Comparison(kept(tmp_path / "kept.json"), ["shipped", "same"], LRS)
    assert [comparison.best_lr(kind, 0) for kind in BEST] == list(BEST.values())
    assert comparison.wanted_lrs("same", 0, [0, 1]) == LRS
    assert comparison.wanted_lrs("same", 1, [0, 1]) == [0.01]
    # Also where a later start names other seeds alone.
    assert comparison.wanted_lrs("same", 7, [7, 8]) == [0.01]


def test_where_no_seed_has_all_learning_rates_the_first_gets_them(tmp_path: Path) -> None:
    pieces = kept(tmp_path / "kept.json")
    wider = Comparison(pieces, ["same"], (*LRS, 0.02))
    assert wider.best_lr("same", 0) is None and wider.chosen("same", 0) is None
    assert wider.wanted_lrs("same", 2, [2, 1]) == (*LRS, 0.02)


def test_a_peer_trains_as_long_as_ours_took_or_as_it_is_told(tmp_path: Path) -> None:
    pieces = kept(tmp_path / "kept.json")
    assert Comparison(pieces, ["same"], LRS).budget(1) == 601.0
    assert Comparison(pieces, ["same"], LRS, 30.0).budget(1) == 30.0
    assert Comparison(pieces, ["same"], LRS).budget(9) is None
    assert Comparison(pieces, ["same"], LRS, 30.0).peer("same", 0.01, 0) is None  # those of 600 s are no such


def test_the_standard_error_is_that_of_the_paired_differences() -> None:
    ours, peer = [0.5, 0.7, 0.9], [0.4, 0.6, 0.83]  # far apart by seed, near by pair
    mean, error = mean_and_error([a - b for a, b in zip(ours, peer, strict=True)])
    assert mean == pytest.approx(0.09) and error == pytest.approx(0.01)
    assert mean_and_error([0.1]) == (0.1, None)


def test_the_page_tells_differences_and_bars(tmp_path: Path) -> None:
    comparison = Comparison(kept(tmp_path / "kept.json"), ["shipped", "same"], LRS)
    text = tables(comparison)
    assert "| 1 | ours, joint | 0.710 | 0.210 |  | 601 |  |" in text
    assert "| 1 | torchvision as shipped | 0.600 | 0.200 | 0.005 | 600 | 1,000 |" in text
    assert "| torchvision, same precision | 0 | 0.01 | 0.600 | 0.100 |" in text
    # The joint network's AP counts, as it is better by mAP50: .21 less .1, .2 and .3.
    difference = "| 3 | +0.110 (standard error 0.006) | +0.010 (standard error 0.058) |"
    assert f"| torchvision as shipped {difference}" in text
    rows = {row.name: row for row in bars(comparison, "voc6_resnet50_fpn")}
    assert rows["mean mAP50 of torchvision as shipped, less ours"].judged == pytest.approx(-0.11)
    assert [row.is_met for row in rows.values()] == [True, True, True]
    assert "mean of the mAP50 missed, ours" in {row.name for row in bars(comparison, "voc6_vgg16")}


def test_a_lead_of_less_than_three_points_misses_the_bar(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path / "kept.json", "settings")
    ours = {"seed": 0, "seconds": 730.0, "step4": network(0.62, 0.3), "joint": network(0.5, 0.4)}
    pieces.done(ours_name(0), lambda: ours)
    peer = {"seed": 0, "lr": 0.005, "seconds": 730.0, "images": 9, **network(0.6, 0.31)}
    pieces.done(peer_name("shipped", 0.005, 0, 730), lambda: peer)
    rows = bars(Comparison(pieces, ["shipped"], [0.005]), "voc6_resnet50_fpn")
    assert [row.is_met for row in rows] == [False, False, False]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Nothing is trained; what would be, in order."""
    made: list[str] = []

    def ours(scratch: Scratch) -> dict[str, object]:
        made.append(f"ours {scratch.settings[-1]}")
        return {"seconds": 100.2, "step4": network(0.7, 0.3), "joint": network(0.6, 0.3)}

    def peer(root: Path, kind: str, seconds: float, lr: float, seed: int) -> dict[str, float]:
        made.append(f"{kind} {lr:g} {seconds:g} {seed}")
        return {"seconds": seconds, "images": 10, **network(0.5 + lr, 0.2)}

    monkeypatch.setattr(equal_time, "KEPT", tmp_path)
    monkeypatch.setattr(Scratch, "make", lambda scratch: made.append("copy"))
    monkeypatch.setattr(Scratch, "prepare", lambda scratch: made.append("prepare"))
    monkeypatch.setattr(Scratch, "run", ours)
    monkeypatch.setattr(equal_time, "measure_peer", peer)
    monkeypatch.setattr(equal_time, "write_section", lambda *arguments, **options: made.append("section"))
    return made


def start(*words: str) -> list[str]:
    return equal_time.run(equal_time.parser().parse_args(["--preset", "default", "--lrs", "0.01", "0.02", *words]))


def test_a_finished_piece_is_not_repeated(calls: list[str]) -> None:
    assert start("--seeds", "0", "1") == []
    first = ["copy", "ours base.seed=0", "prepare", "same 0.01 100 0", "same 0.02 100 0"]
    assert calls == [*first, "copy", "ours base.seed=1", "prepare", "same 0.02 100 1", "section"]
    calls.clear()
    assert start("--seeds", "0", "1", "2") == []
    assert calls == ["copy", "ours base.seed=2", "prepare", "same 0.02 100 2", "section"]
    calls.clear()
    assert start("--seeds") == [] and calls == ["section"]


def test_what_was_finished_before_a_kill_is_kept(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    peer: Callable[..., dict[str, float]] = equal_time.measure_peer

    def killed(root: Path, kind: str, seconds: float, lr: float, seed: int) -> dict[str, float]:
        if lr == 0.02:
            raise KeyboardInterrupt
        return peer(root, kind, seconds, lr, seed)

    with monkeypatch.context() as patch:
        patch.setattr(equal_time, "measure_peer", killed)
        with pytest.raises(KeyboardInterrupt):
            start("--seeds", "0")
    calls.clear()
    assert start("--seeds", "0") == []
    assert calls == ["copy", "prepare", "same 0.02 100 0", "section"]


def test_each_side_can_be_run_alone(calls: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    failed = start("--seeds", "0", "--only", "peers")
    assert len(failed) == 1 and "--seconds" in failed[0] and calls == []
    start("--seeds", "0", "--only", "ours")
    assert calls == ["copy", "ours base.seed=0"]
    said = capsys.readouterr().out
    assert "| 0 | ours, joint |" in said and "no section is written yet" in said
    calls.clear()
    assert start("--seeds", "0", "--only", "peers", "--seconds", "5") == []
    assert calls == ["copy", "prepare", "same 0.01 5 0", "same 0.02 5 0", "section"]


def test_a_changed_preset_starts_anew_and_says_so(calls: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    start("--seeds", "0")
    assert "starting anew" not in capsys.readouterr().out
    calls.clear()
    start("--seeds", "0", "--set", "roi_head.sigma=2.0")
    assert "equal_time-default.json" in (said := capsys.readouterr().out) and said.count("starting anew") == 1
    assert "ours base.seed=0" in calls
    calls.clear()
    start("--seeds", "0")  # back at the first, its figures are still there
    assert calls == ["section"]


def test_our_run_that_fails_does_not_stop_the_rest(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(scratch: Scratch) -> dict[str, object]:
        raise InputError("frcnn repro ended with status 1")

    monkeypatch.setattr(Scratch, "run", fails)
    failed = start("--seeds", "0", "1", "--seconds", "5")
    assert failed == [f"seed {seed}: frcnn repro ended with status 1" for seed in (0, 1)]
    assert "same 0.02 5 1" in calls


def test_the_digest_is_of_parameters_and_not_of_the_seed() -> None:
    def task(*words: str) -> str:
        return task_of(equal_time.parser().parse_args(["--preset", "default", *words])).digest

    assert task() == task("--set", "base.seed=5") != task("--set", "rpn.sigma=2.0")
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})


def test_a_dry_run_takes_the_first_photos_of_a_voc_tree(tmp_path: Path) -> None:
    tree, weights = tmp_path / "tree", tmp_path / "vgg16.pth"
    weights.touch()
    for part in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (tree / part).mkdir(parents=True)
    for split in ("train", "test"):
        names = [f"{split}{index:02d}" for index in range(FEW + 2)]
        (tree / f"ImageSets/Main/{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            (tree / f"Annotations/{name}.xml").touch()
            (tree / f"JPEGImages/{name}.jpg").touch()
    words = ["--photos", str(tree), "--weights", str(weights)]
    for dry, root in (([], tree), (["--dry-run"], tmp_path / "out/photos")):
        (tmp_path / "out").mkdir(exist_ok=True)
        scratch = task_of(equal_time.parser().parse_args([*words, *dry])).scratch(tmp_path / "out", 3)
        assert scratch.settings[-3:] == (f"dataset.root={root}", f"backbone.weights={weights}", "base.seed=3")
    photos = sorted(path.name for path in (tmp_path / "out/photos/JPEGImages").iterdir())
    assert len(photos) == 2 * FEW and photos[FEW] == "train00.jpg"
    assert not any(path.is_symlink() for path in (tmp_path / "out/photos").rglob("*"))  # DVC hashes what is there


def test_without_photos_it_is_skipped_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for words, option in ((["--photos", "absent"], "--photos"), (["--preset", "voc07_vgg16"], "--photos")):
        with pytest.raises(SystemExit) as end:
            task_of(equal_time.parser().parse_args(words))
        said = capsys.readouterr().out
        assert end.value.code == 0 and option in said and said.count("\n") == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": 1}', '{"settings": {"ours": 1}}'])
def test_a_damaged_file_of_pieces_ends_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kept.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"kept\.json: .*move it elsewhere") as error:
        Pieces(path, "settings")
    assert "\n" not in str(error.value) and path.read_text() == text


def test_pieces_that_another_start_finished_meanwhile_stay(tmp_path: Path) -> None:
    one, other = (Pieces(tmp_path / "kept.json", settings) for settings in ("a", "b"))
    one.done("ours", lambda: {"seed": 0})
    other.done("ours", lambda: {"seed": 1})
    assert json.loads((tmp_path / "kept.json").read_text()) == {"a": {"ours": {"seed": 0}}, "b": {"ours": {"seed": 1}}}
    assert Pieces(tmp_path / "kept.json", "c").of_others == 2


def test_a_folder_of_anything_else_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("mine")
    with pytest.raises(InputError, match="holds no copy of the project"):
        Scratch(tmp_path, "default", (), family_of("faster_rcnn")).make()
    assert (tmp_path / "own.txt").read_text() == "mine"


def test_there_is_no_peer_as_shipped_of_another_trunk(calls: list[str]) -> None:
    with pytest.raises(InputError, match="--peers shipped: there is none of tiny"):
        start("--peers", "shipped")


RESNET = ("backbone.name=resnet18", "backbone.weights=random", "backbone.neck.name=fpn", "anchors.scales=[2.0]")


@pytest.mark.long
@pytest.mark.parametrize(
    ("settings", "peers"),
    [((), ["same precision"]), (("--set", *RESNET), ["as shipped", "same precision"])],
    ids=["tiny", "resnet18_fpn"],
)
def test_the_whole_way_on_a_few_shapes(settings: tuple[str, ...], peers: list[str]) -> None:
    command = [sys.executable, "-m", "benchmarks.equal_time", "--preset", "default", "--dry-run", *settings]
    kept_file = ROOT / ".dvc/tmp/equal_time-default.json"
    before = kept_file.read_text() if kept_file.exists() else None
    kept_file.unlink(missing_ok=True)
    try:
        ended = subprocess.run([*command, "--lrs", "0.01"], cwd=ROOT, capture_output=True, text=True, check=False)
    finally:
        kept_file.unlink(missing_ok=True)
        if before is not None:
            kept_file.write_text(before)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "| 0 | ours, step 4 |" in ended.stdout
    for peer in peers:
        assert f"| 0 | torchvision{',' if peer == 'same precision' else ''} {peer} |" in ended.stdout


@pytest.mark.parametrize(
    ("weights", "words", "in_1x1"),
    [
        ("resnet50_msra.safetensors", [], True),
        ("resnet50_msra.safetensors", ["--set", "backbone.stride_in_1x1=false"], False),
        ("resnet50-0676ba61.pth", [], False),
    ],
)
def test_caffes_weights_have_their_stride_where_they_were_trained(
    tmp_path: Path, weights: str, words: list[str], in_1x1: bool
) -> None:
    (tmp_path / weights).touch()
    given = ["--photos", str(tmp_path), "--weights", str(tmp_path / weights), *words]
    task = task_of(equal_time.parser().parse_args(["--preset", "voc6_resnet50_fpn", *given]))
    assert task.params.backbone.stride_in_1x1 is in_1x1
    assert any(setting.startswith("backbone.stride_in_1x1=") for setting in task.settings) is (in_1x1 or bool(words))
