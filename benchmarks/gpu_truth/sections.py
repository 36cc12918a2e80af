"""The sections of `benchmarks.gpu_truth`: what each records, how long it may take, what was predicted beforehand.

Needs nothing but Python. Predictions were read off the code and measured on a CPU; none is a GPU's figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PATIENCE = 10
"""With --small, times a section's limit: a busy CPU is slow, and nothing is measured."""


@dataclass(frozen=True)
class Section:
    """One process of its own.

    Attributes:
        name: its module in this package, whose `run` does it.
        seconds: after which it is ended; what it has recorded by then counts.
        records: in words.
        predicted: by what it speaks of; for an H100 unless it says something else.
        always: otherwise it is run only where --only names it.
    """

    name: str
    seconds: int
    records: str
    predicted: Mapping[str, str] = field(default_factory=dict)
    always: bool = True


SECTIONS = (
    Section("ceilings", 20, "versions; matrix products; copies; disk; md5: the ceilings", {"bf16": "798 TFLOP/s"}),
    Section(
        "smoke",
        50,
        "agreement with the CPU, the same bits twice",
        {"gradients": "within 5e-3 of the CPU's, RoIPool's within 1.5e-2", "bits": "the same twice"},
    ),
    Section(
        "data_stages",
        40,
        "resize, anchor_targets, backbone, features: ms an image, split into decode, compute, write",
        {"features": "2 ms of a CPU an image and mirror to convert and check, 4.2 ms for shards and hashes"},
    ),
    Section(
        "training",
        70,
        "the real training loop of step 1: images/s, the largest term",
        {
            "float32, 1 image": "30-60 images/s",
            "bf16, 1 image": "about 200 images/s",
            "bf16, 2 images": "about 285 images/s",
            "floor": "1,127 images/s at 600 x 800",
            "host": "3.2, 3.6, 8.5 ms an iteration with 1, 2, 8 images",
            "loader": "1.5 ms of one thread an image: about 500 images/s",
        },
    ),
    Section(
        "profile",
        30,
        "20 iterations of step 1 and of joint training: kernel ms against wall, launches, where it waits",
        {"step 1": "host and device met 5 times an iteration when this was read off the code, joint about 25"},
    ),
    Section(
        "heads",
        50,
        "step 2, joint, detect; NMS of 6,000 to 16,600; RoIPool and RoIAlign: ms",
        {"step 2": "at most 70 views/s while row groups are decoded; floor 680 images/s with 2 images, 950 with 8"},
    ),
    Section(
        "graph",
        170,
        "the whole graph twice, deterministic; SIGTERM and resume in step 1: SHA-256 of all artifacts, peak memory",
        {"bytes": "the same twice and after a resume"},
    ),
    Section(
        "checkpoint",
        20,
        "a state of VGG16 with its head: to the host, save, hash, write: seconds",
        {"whole": "7 s of a CPU for 1.07 GB when this was read off the code"},
    ),
    Section(
        "cells",
        90,
        "trunk and RPN forward and backward by images, layout, precision, cudnn.benchmark; graphed; compiled: TFLOP/s",
        {"bf16 or TF32 over float32": "4 to 6 times"},
    ),
    Section(
        "families",
        240,
        "the graphs of RetinaNet, FCOS, SSD and Faster R-CNN with FPN twice, deterministic; SIGTERM and resume in the "
        "training of each: SHA-256 of all artifacts",
        {"bytes": "the same twice and after a resume"},
        always=False,
    ),
    Section(
        "pyramid",
        240,
        "the training loops of ResNet-50 with FPN, random weights, in bf16 and TF32: images/s of step 1, step 2, joint",
        always=False,
    ),
    Section(
        "dense",
        180,
        "the training loops of RetinaNet and FCOS on ResNet-50, random weights, in bf16 and TF32: images/s",
        always=False,
    ),
    Section(
        "at_once",
        180,
        "features, proposals and detection of VGG16, detection of RetinaNet on ResNet-50, with 1, 4 and 16 images of "
        "one size at once: seconds and CPU seconds of whole stages on few and on many images, images of a group, peak "
        "memory",
        {"detect_step2": "6.2 ms of the network with one image, and what the host does beside it"},
        always=False,
    ),
    Section(
        "loaders",
        120,
        "the training loop of step 1 in bf16 with a thread and with 1, 2 and 4 processes that make batches: images/s",
        {"2 images, 2 processes": "as with resident batches"},
        always=False,
    ),
    Section(
        "processes",
        240,
        "resize, anchor_targets, features and proposals_step1 of VGG16 on 1,536 photos, in 1, 4 and 2 processes that "
        "share the card: seconds of whole stages, whether the bytes are those of one process",
        {
            "resize, anchor_targets": "3 times as fast with 4 processes",
            "features, proposals_step1": "10 s of each process to start; twice as fast with 4 processes",
        },
        always=False,
    ),
    Section(
        "preloaded",
        300,
        "the whole graph with stages in forks of a process that has imported torch, then each in a Python of its own: "
        "seconds of each stage, whether the bytes are the same",
        {"a stage": "4 to 5 s less in a fork; the start of CUDA, 6 s, stays"},
        always=False,
    ),
    Section(
        "whole",
        330,
        "the whole graph once with the schedule of voc6_vgg16: seconds a stage, mAP, peak memory",
        {"seconds": "200, half of them to start processes"},
        always=False,
    ),
)
