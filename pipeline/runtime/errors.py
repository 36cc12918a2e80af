"""The exceptions that users see, and those of libraries that mean a full disk or too little memory."""

from __future__ import annotations

import errno
import os


class InputError(Exception):
    """Bad input, described in one line: what is wrong, in which file or image, what to do.

    Every command line of the project prints it without a traceback and exits with status 1.
    """


class ChangedMeanwhile(Exception):
    """What a stage began with is not what its result would be filed under, described in one line.

    No `InputError`, which would remove what was done: put back, the run resumes from that.
    """


class StartedOtherwise(Exception):
    """A stage was started in a way in which it cannot run, described in one line.

    No `InputError`, which would remove what an earlier run has done.
    """


class ProcessLost(Exception):
    """One of the processes of a stage was killed or crashed, described in one line.

    No `InputError`, as what is done is sound: the next run resumes from that.
    """


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an exception; libraries wrap what the system said, or keep its words alone."""
    while error is not None:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return True
        if f"(os error {errno.ENOSPC})" in str(error) or os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


# What torch raises as a bare RuntimeError: of pinned memory and of kernels, of cuBLAS and cuDNN, of the CPU.
_TOO_LITTLE_MEMORY = (
    "out of memory",
    "cudaErrorMemoryAllocation",
    "cudaHostAlloc",
    "cudaHostRegister",
    "_STATUS_ALLOC_FAILED",
    "can't allocate memory",
    "Cannot allocate memory",
    "Insufficient memory",  # OpenCV
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether too little memory, of a GPU or of the machine, is behind an exception; imports no library."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    from_library = isinstance(error, RuntimeError) or type(error).__module__ == "cv2"
    return from_library and any(words in str(error) for words in _TOO_LITTLE_MEMORY)
