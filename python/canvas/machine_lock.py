"""One process at a time measures on the machine: the lock that everything holds while it takes times."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def machine_lock() -> Iterator[None]:
    """Held by one process on the machine at a time; the system lets go of it when a process dies."""
    path = Path(tempfile.gettempdir()) / "canvas-timing.lock"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    except PermissionError:  # another user's file
        descriptor = os.open(path.with_name(f"canvas-timing-{getpass.getuser()}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
