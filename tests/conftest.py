"""What several files of tests need: where studies may lie, and a PostgreSQL server."""

import pytest

from postgres import Server


@pytest.fixture(scope="session")
def postgres():
    """A server; the test is skipped where none is installed."""
    pytest.importorskip("psycopg", reason="no psycopg here: pip install 'canvas-kas[postgresql]'")
    server = Server()
    yield server
    server.close()


@pytest.fixture(params=["file", "postgresql"])
def anywhere(request, tmp_path):
    """Where a study can be made: a file, a database."""
    return tmp_path / "study.db" if request.param == "file" else request.getfixturevalue("postgres").url()
