"""Processes as /proc tells of them, for the tests that kill some."""

import contextlib
import time
from pathlib import Path


def children(parent):
    """The processes that it started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, of = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            if entry.name.isdigit() and int(of) == parent and state != "Z":
                found.append(int(entry.name))
    return found


def wait_for_end(pids, seconds=60):
    """Until none of them runs any more; whether anybody has asked how they ended does not matter."""
    end = time.monotonic() + seconds
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < end, f"still there: {pids}"
        time.sleep(0.02)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
