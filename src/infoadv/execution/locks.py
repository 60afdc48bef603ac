"""Locks that the kernel drops together with the process that holds them, also after kill -9."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path


def attempt(path: Path, *, everyone: bool = False) -> int | None:
    """Lock the file at ``path`` for the life of this process; return its descriptor, or None if another holds it.

    The file is made where it is missing. With ``everyone`` it may lie in a folder that all users write to: every user may
    lock it and nobody but its owner may write to it. A symbolic link is never followed. Programs that this process starts
    do not inherit the lock.

    Raises
    ------
    OSError
        The file cannot be opened, is no plain file, or lies on a file system without locks.
    """
    access = os.O_RDONLY if everyone else os.O_RDWR
    # Not to wait on a planted pipe.
    flags = access | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        # Not O_CREAT at first: Linux refuses it for another user's file in a folder like /tmp (fs.protected_regular).
        try:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            descriptor = os.open(path, flags)
        else:
            if everyone:
                os.fchmod(descriptor, 0o644)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a plain file", str(path))
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
