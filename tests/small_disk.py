"""A small file system of its own, for the tests of full disks and read-only folders."""

import contextlib
import subprocess

import pytest


@contextlib.contextmanager
def tmpfs(folder, options):
    """Mounts a small file system in memory; skips the test where that is not allowed."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
