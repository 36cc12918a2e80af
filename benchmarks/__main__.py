"""Run the benchmarks that have a section in docs/performance.md or scaling.md, or those that are named.

    python -m benchmarks [NAME ...]

Each runs in a process of its own. One whose data or weights are absent says so and is skipped. `equal_time` takes over
an hour and is not among them.
"""

from __future__ import annotations

import subprocess
import sys

SCRIPTS = (
    "training_time",
    "cached_maps",
    "inference_time",
    "resnet_time",
    "targets",
    "coco_evaluation",
    "start_up",
    "scaling",
    "rows_by_offset",
    "dvc_files",
)


def main() -> None:
    names = sys.argv[1:] or list(SCRIPTS)
    unknown = [name for name in names if name not in SCRIPTS]
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(SCRIPTS)}")
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode:
            failed.append(name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
