"""One module per kind of stage; wiring is in dvc.yaml.

If `python` lacks the packages, for instance because .venv/bin/dvc or an editor's DVC runs without the activated
environment, the environment's own Python takes over. Under `frcnn repro`, `flow` and workers a process that has
imported the libraries may run the stage, see `pipeline.preload`.

Ctrl-C while a stage is imported, which takes seconds, ends it without a traceback.
"""

import gc
import os
import signal
import sys
import time
from importlib.util import find_spec

STARTED = time.time()  # before anything of the project is imported, see pipeline.runtime.code_locks.running
_HANDED_OVER = "FRCNN_HANDED_OVER"


def _hand_over() -> None:
    before = os.environ.pop(_HANDED_OVER, None)
    needed = ("cv2", "numpy", "pyarrow", "pydantic", "ruamel", "torch")
    lacking = [name for name in needed if find_spec(name) is None]
    if not lacking and sys.version_info >= (3, 11):
        return
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    own = os.path.join(root, ".venv")
    python = os.path.join(own, "bin", "python")
    if os.path.exists(python) and os.path.realpath(sys.prefix) != os.path.realpath(own) and not before:
        os.environ[_HANDED_OVER] = "1"  # so that an environment that is broken is not handed to for ever
        with open("/proc/self/cmdline", "rb") as file:
            words = file.read().split(b"\0")[:-1]
        os.execv(python, [python.encode(), *words[1:]])
    what = "lacks " + ", ".join(lacking) if lacking else "is too old"
    sys.exit(
        "error: python is {} ({}.{}), which {}; run make setup and source .venv/bin/activate in {}".format(
            sys.executable, *sys.version_info[:2], what, root
        )
    )


if sys.argv[:1] == ["-m"]:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _hand_over()
    from pipeline.preload.stage_client import run_elsewhere  # which the wrong Python need not have found

    run_elsewhere()
    # Objects that imports make stay; looking for garbage among them takes a tenth of the time. `run_stage` enables it,
    # and `code` ends soon.
    gc.disable()
