"""Stores of files: a folder, memory, and a real S3 server in a process."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from palaver.shared.settings import Settings
from palaver.shared.stores import FileStore
from tests.s3_server import S3Server, s3_server

__all__ = ["s3_server"]

MakeStore = Callable[..., FileStore]


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.xdist_group("s3")), "memory"])
def files_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty store's address."""
    if request.param == "file":
        return f"file://{tmp_path}/files%20of%20mine"
    if request.param == "memory":
        return "memory:"
    server: S3Server = request.getfixturevalue("s3_server")
    server.open_to(monkeypatch)
    return server.url(f"b{uuid4().hex}", "some/prefix")


@pytest.fixture
def make_store(files_url: str) -> MakeStore:
    """Open the store, with settings."""

    def make(**values: object) -> FileStore:
        return FileStore.of(Settings(files_url=files_url, **values))

    return make


@pytest.fixture
def store(make_store: MakeStore) -> FileStore:
    return make_store()
