"""Locks that the kernel releases when their holder ends, also on file systems without locks.

Network and FUSE file systems may refuse `flock`. There the name of a socket stands for the file: it keeps out the other
processes of this machine, which is all that share a workspace.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
from pathlib import Path


def try_lock(descriptor: int) -> int | None:
    """Lock an open file or folder; None where another process holds it.

    Returns:
        The file descriptor that holds the lock, until it and what was inherited of it are closed: `descriptor` itself,
        or another one, `descriptor` being closed, where the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if isinstance(error, BlockingIOError) or error.errno == errno.EACCES:
            return None
    else:
        return descriptor
    path = os.path.realpath(f"/proc/self/fd/{descriptor}")
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0frcnn-lock-{hashlib.sha256(os.fsencode(path)).hexdigest()}")
    except OSError:
        claim.close()
        return None
    os.close(descriptor)
    return claim.detach()


def has_locks(folder: Path) -> bool:
    """Whether the file system of a folder has locks."""
    path = folder / f".lock-{os.getpid()}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)
    return True
