"""The one exception that users see, and those of libraries that mean a full disk."""

from __future__ import annotations

import errno
import os


class InputError(Exception):
    """Bad input, told in one line: what is wrong, in which file or image, what to do.

    Every command line of the project prints it without a traceback and exits with status 1.
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
