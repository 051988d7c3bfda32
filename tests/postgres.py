"""A PostgreSQL server for the tests: its data in a temporary folder, reached by a free port and by a socket there."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from processes import children, wait_for_end

PASSWORD = "under:a/stone"


def programs():
    """The folder of the newest server that Debian's packages, or the search path, have; skips without one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].split(".")[0]))
    found += [Path(path) for path in [shutil.which("initdb")] if path]
    if not found:
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    return found[-1].parent


class Server:
    """A running server with one database and one user (both `canvas`), who needs a password but over the socket."""

    def __init__(self):
        self.programs = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="canvas-postgres-"))  # short: sockets have short names
        self.user = []
        if os.getuid() == 0:  # which PostgreSQL refuses to be
            self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
            shutil.chown(self.folder, "postgres", "postgres")
        self.data, self.studies = self.folder / "data", 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        how = ["--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8"]
        self.run("initdb", f"--pgdata={self.data}", "--no-sync", "--locale=C", *how)
        self.start()
        self.sql(f"CREATE ROLE canvas LOGIN PASSWORD '{PASSWORD}'", "CREATE DATABASE canvas OWNER canvas")

    def run(self, program, *arguments):
        subprocess.run([*self.user, self.programs / program, *arguments], check=True, capture_output=True, cwd="/")

    def start(self):
        options = f"-k {self.folder} -p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=30"
        self.run("pg_ctl", "start", "-D", self.data, "-w", "-l", self.folder / "log", "-o", options)

    def stop(self, mode="fast"):
        """ "fast" says good-bye to its clients, "immediate" is as good as a crash."""
        self.run("pg_ctl", "stop", "-D", self.data, "-w", "-m", mode)

    def kill(self):
        """`kill -9` of the server itself; those that it started end when they notice."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        started = children(pid)
        os.kill(pid, signal.SIGKILL)
        wait_for_end([pid, *started])
        for left in (self.data / "postmaster.pid", self.folder / f".s.PGSQL.{self.port}.lock"):
            left.unlink(missing_ok=True)  # where nobody asks how it ended, its number is still taken

    def kill_sessions(self):
        """`kill -9` of those that serve Canvas, upon which the server begins anew."""
        for (pid,) in self.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'canvas'")[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            while Path(f"/proc/{pid}").exists():  # when it is gone, the server knows
                time.sleep(0.01)

    def close(self):
        with contextlib.suppress(subprocess.CalledProcessError):  # it is stopped already
            self.stop("immediate")
        shutil.rmtree(self.folder)

    def sql(self, *statements, database="postgres"):
        """What the superuser's statements give, each by itself."""
        import psycopg

        where = {"host": str(self.folder), "port": self.port, "user": "postgres", "dbname": database}
        with psycopg.connect(**where, autocommit=True) as connection:
            return [
                connection.execute(one).fetchall() if one.startswith("SELECT") else connection.execute(one)
                for one in statements
            ]

    def url(self, study=None, **parts):
        """Of a study, by default of a new one."""
        self.studies += 1
        values = {"user": "canvas", "password": PASSWORD, "host": "127.0.0.1", "port": self.port, "database": "canvas"}
        url = "postgresql://{user}:{password}@{host}:{port}/{database}".format(**{**values, **parts})
        return f"{url}?study={study or f's{self.studies}'}"
