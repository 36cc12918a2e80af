"""Detect objects in photos with a bundle.

    from pipeline.bundle import Detector
    detector = Detector.load("bundle")
    detections = detector("photo.jpg")

Shapes: H, W image height, width in pixels; N detections of one image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt
import torch

from pipeline.bundle.contract import family_bundle
from pipeline.bundle.file import Bundle, read_bundle
from pipeline.datasets.images import read_rgb
from pipeline.datasets.resizing import resize_rgb
from pipeline.nn.arithmetic import tf32
from pipeline.nn.postprocess import to_original
from pipeline.runtime.device import gpu_or_cpu, has_gpu
from pipeline.runtime.errors import InputError

Pixels = npt.NDArray[np.uint8]
Photo = str | PathLike[str] | Pixels
Photos = list[Photo] | list[str] | list[Path] | list[Pixels] | tuple[Photo, ...]


@dataclass(frozen=True, eq=False)
class Detections:
    """The N detections of one image, by descending score.

    Attributes:
        boxes: (N, 4) float32 xyxy, pixels of the original image, clipped to it, continuous.
        labels: (N,) int64, 1..C-1, indices into the classes of the bundle.
        names: N class names.
        scores: (N,) float32, probability, 0..1.
    """

    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    names: list[str]
    scores: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score: float) -> Detections:
        """Those of at least this score."""
        return self.best(int(np.count_nonzero(self.scores >= score)))

    def best(self, count: int) -> Detections:
        """The first `count`, or all where there are fewer."""
        return Detections(self.boxes[:count], self.labels[:count], self.names[:count], self.scores[:count])


class Detector:
    """A bundle's network on a device. `classes` are the names of the labels, the background first.

    It computes as the detect stage does: image by image, with the bundle's precision and number of threads, so that the
    same image gives the same detections bit for bit on one type of processor.

    Args:
        bundle: as `read_bundle` gives it. device: cpu, cuda, or None for a GPU where there is one.

    Raises:
        InputError: there is no such device, or a GPU that cannot be used where none is named.
    """

    def __init__(self, bundle: Bundle, device: str | None = None) -> None:
        self.classes = tuple(bundle.settings.classes)
        self.settings = bundle.settings
        self.device = _device(device)
        parts = {name: part.to(self.device) for name, part in bundle.parts.items()}
        self._network = family_bundle(bundle.settings.family).network(parts, bundle.settings.params)

    @classmethod
    def load(cls, folder: str | PathLike[str], device: str | None = None) -> Detector:
        """The detector of a folder that `frcnn bundle` wrote; it is verified.

        Args:
            device: cpu, cuda, or None for a GPU where there is one.

        Raises:
            InputError: no bundle, a damaged or changed one, or no such device.
        """
        return cls(read_bundle(Path(folder)), device)

    @overload
    def __call__(self, photos: Photo) -> Detections: ...

    @overload
    def __call__(self, photos: Photos) -> list[Detections]: ...

    def __call__(self, photos: Photo | Photos) -> Detections | list[Detections]:
        """Detect in one photo, or in each of a list.

        Args:
            photos: a file that `pipeline.datasets.images.read_rgb` reads, an (H, W, 3) uint8 RGB array, or a list or
                tuple of these.

        Raises:
            InputError: a file that cannot be read, or an array of another shape or type.
        """
        if isinstance(photos, list | tuple):
            return [self._detect(photo) for photo in photos]
        return self._detect(photos)

    def _detect(self, photo: Photo) -> Detections:
        pixels = _pixels_of(photo)
        params = self.settings.params
        resized = resize_rgb(pixels, params.resize)
        # The resize stage writes its scales as float32.
        scale_y, scale_x = (
            float(np.float32(new / old)) for new, old in zip(resized.shape[:2], pixels.shape[:2], strict=True)
        )
        images = torch.from_numpy(resized)[None].permute(0, 3, 1, 2).to(self.device)
        precision = params.base.precision
        with (
            _threads(params.base.threads),
            tf32(precision == "tf32") if self.device.type == "cuda" else nullcontext(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16"),
        ):
            (found,) = self._network(images, [resized.shape[:2]], [(scale_x, scale_y)])
            boxes = to_original(found.boxes.cpu(), (scale_x, scale_y), pixels.shape[:2])
        labels = found.labels.cpu().numpy()
        names = [self.classes[label] for label in labels]
        return Detections(boxes.numpy(), labels, names, found.scores.cpu().numpy())


def _device(name: str | None) -> torch.device:
    if name is None:
        return gpu_or_cpu("give device cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device {name!r}: no such device; give cpu or cuda") from error
    if device.type == "cuda" and not has_gpu():
        gpu_or_cpu("give device cpu")  # says why, where the machine has one
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not has_gpu()):
        raise InputError(f"device {name!r}: is not available here; give cpu" + " or cuda" * has_gpu())
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {name!r}: there are {torch.cuda.device_count()} GPUs; give a lower number")
    return device


def _pixels_of(photo: Photo) -> Pixels:
    if isinstance(photo, str | PathLike):
        return read_rgb(Path(photo))
    if not isinstance(photo, np.ndarray):
        raise InputError(f"{type(photo).__name__}: is not a photo; give a path or an (H, W, 3) uint8 RGB array")
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or photo.size == 0:
        raise InputError(f"array of shape {photo.shape} and {photo.dtype}: give (H, W, 3) uint8 RGB")
    return np.ascontiguousarray(photo)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads of torch inside, what the caller had outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
