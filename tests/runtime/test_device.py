"""A GPU that is seen but cannot be used is told of in one line; where there is none, the CPU is taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline import cli
from pipeline.bundle.detector import _device as detector_device
from pipeline.nn.arithmetic import tf32
from pipeline.params.base import Base
from pipeline.runtime import gpus, launcher
from pipeline.runtime.device import gpu_model, gpu_or_cpu
from pipeline.runtime.errors import InputError, is_out_of_memory
from pipeline.runtime.gpus import is_gpu_meant
from pipeline.runtime.launcher import launch
from tests.conftest import ROOT

CARD = "#!/bin/sh\necho '0, GPU-aaaa-1'\n"
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU that can be used")


@pytest.fixture(autouse=True)
def no_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without device files and, on its PATH, without nvidia-smi."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(gpus, "_DEVICE_FILES", tmp_path / "dev")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def put_card(folder: Path, script: str = CARD) -> None:
    (folder / "bin/nvidia-smi").write_text(script)
    (folder / "bin/nvidia-smi").chmod(0o755)


def test_a_machine_without_a_gpu_computes_on_the_cpu(no_devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_or_cpu().type == "cpu"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # as scripts of clusters set it everywhere
    assert gpu_or_cpu().type == "cpu"
    for name in ("nvidiactl", "nvidia-uvm"):  # a driver without a card
        (no_devices / "dev" / name).touch()
    assert gpu_or_cpu().type == "cpu"


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles", " "])
def test_who_hides_the_gpu_computes_on_the_cpu(no_devices: Path, monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    put_card(no_devices, "#!/bin/sh\ntouch asked\n")
    monkeypatch.chdir(no_devices)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_or_cpu().type == "cpu"
    assert not (no_devices / "asked").exists()  # asking the driver takes a moment


@pytest.mark.parametrize("visible", [None, "0", "7", "GPU-aaaa"])
def test_a_gpu_that_torch_cannot_use_is_told_with_torchs_reason(
    no_devices: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None
) -> None:
    put_card(no_devices)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    def init() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040). Please\nupdate it.")

    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(InputError) as told:
        gpu_or_cpu()
    assert str(told.value) == (
        "this machine has a GPU, but torch cannot use it: The NVIDIA driver on your system is too old (found version "
        "11040); fix that, or set CUDA_VISIBLE_DEVICES= (to nothing) to compute on the CPU on purpose"
    )


def test_a_driver_that_fails_nvidia_smi_is_seen_by_the_file_of_its_card(no_devices: Path) -> None:
    put_card(no_devices, "#!/bin/sh\necho Driver/library version mismatch; exit 18\n")
    assert not is_gpu_meant()
    (no_devices / "dev/nvidia0").touch()
    assert is_gpu_meant()


def test_a_gpu_that_torch_finds_and_cannot_compute_on_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(InputError, match=r"torch cannot use the GPU: .*; fix that, or give device cpu$") as told:
        gpu_or_cpu("give device cpu")
    assert "\n" not in str(told.value)


def test_a_gpu_whose_memory_others_hold_is_no_fault_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def ones(*size: int, device: str) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", ones)
    with pytest.raises(torch.OutOfMemoryError):
        gpu_or_cpu()


def test_the_model_of_a_gpu_names_card_cuda_and_cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_model() == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 92000)
    assert gpu_model() == f"NVIDIA H100 80GB HBM3, CUDA {torch.version.cuda}, cuDNN 92000"


def test_who_launches_a_stage_s_work_meets_it(no_devices: Path) -> None:
    put_card(no_devices)
    base = Base(seed=0, threads=torch.get_num_threads(), precision="bf16", deterministic=True, mirror=True)
    with pytest.raises(InputError, match="this machine has a GPU, but torch cannot use it"):
        launch(base)


def test_a_detector_says_what_to_give_instead(no_devices: Path) -> None:
    put_card(no_devices)
    for name in (None, "cuda"):
        with pytest.raises(InputError, match=r"but torch cannot use it: .*; fix that, or give device cpu"):
            detector_device(name)
    assert detector_device("cpu").type == "cpu"


def run_stage(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    arguments = ["--out", "features", "--params", "base", "--params-file", str(ROOT / "params.yaml")]
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


_IDLE = """from pipeline.params.base import Base
from pipeline.runtime.stage import run_stage
run_stage(lambda stage: None, about=None, sections={"base": Base}, inputs={})"""


@pytest.mark.parametrize("name", ["WORLD_SIZE", "PMI_SIZE"])
def test_one_of_several_ranks_ends_before_it_touches_the_folder(no_devices: Path, name: str) -> None:
    result = run_stage(no_devices, _IDLE, **{name: "2", "RANK": "1", "LOCAL_RANK": "1"})
    assert result.returncode == 1
    assert result.stderr.startswith(f"features: error: it was started as one of 2 ranks ({name})")
    assert result.stderr.count("\n") == 1
    assert {path.name for path in no_devices.iterdir()} == {"bin", "dev"}


def test_a_single_rank_is_a_process_like_any_other(no_devices: Path) -> None:
    assert run_stage(no_devices, _IDLE, WORLD_SIZE="1", RANK="0", LOCAL_RANK="0").returncode == 0


class AcceleratorError(RuntimeError):
    """As newer versions of torch raise it."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), True),
        (AcceleratorError("CUDA error: out of memory"), True),
        (RuntimeError("cudaHostAlloc failed"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (KeyError("out of memory"), False),
        (ValueError("rows out of memory of the table"), False),
    ],
)
def test_out_of_memory_is_known_by_its_words(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


@pytest.mark.parametrize("error", [AcceleratorError("CUDA error: out of memory\nSee elsewhere."), MemoryError()])
def test_a_command_that_runs_out_of_memory_ends_in_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app() -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    told = capsys.readouterr().err
    assert told.startswith("frcnn: error: out of memory") and told.count("\n") == 1 and "--device cpu" in told


def test_a_fault_of_the_code_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def app() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(RuntimeError, match="illegal"):
        cli.main()


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize(
    "before",
    [
        "pass",
        "torch.backends.cuda.matmul.allow_tf32 = True",
        "torch.set_float32_matmul_precision('medium')",
        "torch.backends.cuda.matmul.fp32_precision = torch.backends.cudnn.conv.fp32_precision = 'tf32'",
    ],
)
def test_tf32_is_switched_inside_and_as_before_outside(wanted: bool, before: str) -> None:
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    start = matmul.fp32_precision, conv.fp32_precision
    precision = torch.get_float32_matmul_precision()
    try:
        exec(before)
        outside = flags()
        with pytest.raises(KeyError), tf32(wanted):
            assert (matmul.fp32_precision, conv.fp32_precision) == (("tf32", "tf32") if wanted else ("ieee", "ieee"))
            raise KeyError
        assert flags() == outside
    finally:
        torch.set_float32_matmul_precision(precision)
        matmul.fp32_precision, conv.fp32_precision = start


def flags() -> list[object]:
    """What can be read of torch's switches, old and new."""
    told: list[object] = [torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision]
    for read in (torch.get_float32_matmul_precision, lambda: torch.backends.cuda.matmul.allow_tf32):
        try:
            told.append(read())
        except RuntimeError:
            told.append("mixed")
    return told


def test_precision_tf32_is_float32_on_a_cpu_to_the_bit() -> None:
    outputs = []
    for precision in ("float32", "tf32"):
        base = Base(seed=0, threads=1, precision=precision, deterministic=False, mirror=True)
        accelerator = launch(base)
        draw = torch.Generator().manual_seed(0)
        layer = torch.nn.Conv2d(16, 16, 3, bias=False)
        torch.nn.init.normal_(layer.weight, generator=draw)
        with torch.inference_mode(), accelerator.autocast():
            images = torch.randn(1, 16, 32, 32, generator=draw)
            maps = layer(images)
            outputs.append(maps.flatten(1) @ maps.flatten(1).T)
        assert accelerator.mixed_precision == "no"
    assert torch.equal(*outputs)


def test_precision_tf32_switches_tf32_on_on_a_gpu_and_float32_off(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(launcher, "gpu_or_cpu", lambda: torch.device("cuda"))
    monkeypatch.setattr(launcher, "set_tf32", asked.append)
    monkeypatch.setattr(launcher, "Accelerator", lambda **given: given)
    for precision, mixed in (("float32", "no"), ("tf32", "no"), ("bf16", "bf16")):
        base = Base(seed=0, threads=torch.get_num_threads(), precision=precision, deterministic=False, mirror=True)
        assert launch(base) == {"mixed_precision": mixed, "cpu": False}  # type: ignore[comparison-overlap]
    assert asked == [False, True, False]
