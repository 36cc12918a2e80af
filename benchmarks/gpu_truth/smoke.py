"""Does the detector agree with the CPU, repeat itself bit for bit, and how fast is it? By `benchmarks.gpu_smoke`."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.gpu_network import FULL, SMALL
from benchmarks.gpu_smoke import ALLOWED, agreement, is_agreed, repeats, speeds
from benchmarks.gpu_truth.bench import Bench
from pipeline.nn.arithmetic import full_float32, set_determinism


def run(bench: Bench) -> None:
    """Bits first: cuBLAS reads how it is to sum when it starts."""
    setting = SMALL if bench.small else FULL
    setting = replace(setting, batch=1)
    full_float32()
    set_determinism(True)
    bench.attempt("same_bits_twice", lambda: repeats(setting, bench.device))
    set_determinism(False)

    def agrees() -> dict[str, object]:
        differences = agreement(setting, bench.device)
        return {"agrees": is_agreed(differences), "allowed": dict(ALLOWED), "difference": differences}

    bench.attempt("gradients", agrees)
    bench.attempt(
        "images_per_s_and_tflops",
        lambda: {
            name: [images, flops / 1e12]
            for name, (images, flops) in speeds(setting, bench.device, runs=1 if bench.small else 5).items()
        },
    )
