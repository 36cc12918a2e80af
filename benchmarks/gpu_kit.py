"""Pack what `benchmarks.gpu_truth` needs on a bare GPU machine: photos, VGG16's trunk, wheels of what is missing.

    python -m benchmarks.gpu_kit [--out .gpu] [--data VOC_TREE] [--weights FILE] [--photos 256]

The machine is taken to have Python 3.12, torch, torchvision and what stands in `ALREADY_THERE`, and no package index.
The folder holds at most 60 MB; kit.json in it has the size and SHA-256 of every file. Wheels are those of
requirements.lock, checked against its hashes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[1]
KIT, LIMIT = "kit.json", 60_000_000
ALREADY_THERE = (
    *("torch", "torchvision", "accelerate", "safetensors", "pyarrow", "pandas", "numpy", "opencv-python"),
    *("psutil", "tqdm", "typer", "pytest", "packaging", "setuptools"),
)
"""Distributions, with what these bring; opencv-python by any of its names."""
BROUGHT = (
    *("cloudpickle", "colorama", "cuda-bindings", "cuda-pathfinder", "mpmath", "pillow", "protobuf", "pydot", "sympy"),
    "triton",
)
"""What is imported by the ones that are there, where it is."""
WHEELS = {
    "pydantic": "pydantic",
    "pydantic-core": "pydantic_core",
    "annotated-types": "annotated_types",
    "typing-inspection": "typing_inspection",
    "typing-extensions": "typing_extensions",
    "pyyaml": "yaml",
    "ruamel-yaml": "ruamel.yaml",
    "ruamel-yaml-clib": "_ruamel_yaml",
    "defusedxml": "defusedxml",
    "faster-coco-eval": "faster_coco_eval",
}
"""Distributions that travel, with the module that says whether they are there."""
_PLATFORMS = [
    f"manylinux{tag}_x86_64" for tag in ("_2_28", "_2_27", "_2_24", "_2_17", "2014", "_2_12", "2010", "_2_5", "1")
]


def distribution_name(name: str) -> str:
    """As package indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def copy_photos(source: Path, target: Path, count: int) -> None:
    """A VOC tree of the first photos: three quarters of them from its train list, the others from its test list."""
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (target / part).mkdir(parents=True)
    for split, share in (("train", count - count // 4), ("test", count // 4)):
        names = (source / f"ImageSets/Main/{split}.txt").read_text(encoding="utf-8").split()[:share]
        (target / f"ImageSets/Main/{split}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
        for name in names:
            shutil.copyfile(source / f"Annotations/{name}.xml", target / f"Annotations/{name}.xml")
            shutil.copyfile(source / f"JPEGImages/{name}.jpg", target / f"JPEGImages/{name}.jpg")


def halve_weights(source: Path, target: Path) -> None:
    """The convolutions of a state dict of torchvision's VGG16 in float16, which loses what bf16 would lose anyway."""
    state = torch.load(source, map_location="cpu", weights_only=True)
    save_file({name: value.half().contiguous() for name, value in state.items() if "classifier" not in name}, target)


def locked(names: list[str], lock: str) -> str:
    """The lines of requirements.lock on some distributions, hashes included, without their markers."""
    blocks = re.findall(r"^([a-z0-9-]+)==(\S+)[^\n]*\\\n((?:    --hash=[^\n]*\n?)+)", lock, flags=re.MULTILINE)
    found = {name: f"{name}=={version} \\\n{hashes.rstrip()}" for name, version, hashes in blocks if name in names}
    return "\n".join(found[name] for name in names) + "\n"


def download_wheels(target: Path) -> None:
    """Wheels for CPython 3.12 on x86-64 from the package index, by the hashes of requirements.lock."""
    target.mkdir()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        wanted.write(locked(list(WHEELS), (ROOT / "requirements.lock").read_text(encoding="utf-8")))
        wanted.flush()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--only-binary=:all:", "--python-version=3.12", "--implementation=cp", "--dest", str(target)]
        command += [f"--platform={platform}" for platform in _PLATFORMS]
        subprocess.run([*command, "--requirement", wanted.name], check=True)


def write_list(kit: Path) -> int:
    """kit.json, with size and hash of each file; bytes of all."""
    files = {
        str(path.relative_to(kit)): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(kit.rglob("*"))
        if path.is_file()
    }
    (kit / KIT).write_text(json.dumps({"wheels": WHEELS, "files": files}, indent=1), encoding="utf-8")
    return sum(int(str(record["bytes"])) for record in files.values())


def build(out: Path, data: Path, weights: Path, photos: int, *, wheels: bool = True) -> int:
    """Write the kit, in place of one that is there when it is whole; its bytes."""
    is_empty = out.is_dir() and not any(out.iterdir())
    if out.exists() and not is_empty and not (out / KIT).is_file():
        sys.exit(f"gpu_kit: error: {out}: is there and is not a kit; give another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{out.name}-", dir=out.parent) as folder:
        kit = Path(folder) / "kit"
        kit.mkdir()
        copy_photos(data, kit / "photos", photos)
        halve_weights(weights, kit / "vgg16-float16.safetensors")
        if wheels:
            download_wheels(kit / "wheels")
        size = write_list(kit)
        shutil.rmtree(out, ignore_errors=True)
        kit.rename(out)
    return size


def main() -> None:
    shared = ROOT.parent / "shared"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / ".gpu")
    parser.add_argument("--data", type=Path, default=shared / "data/voc6_mini", help="a VOC tree with train and test")
    parser.add_argument("--weights", type=Path, default=shared / "weights/vgg16_features_torchvision.pth")
    parser.add_argument("--photos", type=int, default=256)
    given = parser.parse_args()
    for path in (given.data / "ImageSets/Main/train.txt", given.weights):
        if not path.is_file():
            sys.exit(f"gpu_kit: error: {path}: no such file; give --data a VOC tree and --weights VGG16's .pth")
    size = build(given.out, given.data, given.weights, given.photos)
    if size > LIMIT:
        sys.exit(f"gpu_kit: error: {given.out} has {size / 1e6:.1f} MB, more than {LIMIT / 1e6:.0f}; lower --photos")
    print(f"{given.out}: {size / 1e6:.1f} MB; python -m benchmarks.gpu_truth --kit {given.out} --out FOLDER")


if __name__ == "__main__":
    main()
