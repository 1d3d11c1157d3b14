"""Files are uploaded by clients and named by jobs: by reference, and only by those whose they are."""

import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from palaver.producer import AsyncClient, Client
from palaver.shared.errors import (
    ConfigurationError,
    FileMissingError,
    FileRefusedError,
    FileTooLargeError,
    ValidationError,
)
from palaver.shared.settings import Settings
from tests.pages import program
from tests.processes import ROOT
from tests.servers import RedisServer

pytestmark = pytest.mark.redis

CONTENT = b"A word about wombats."


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """With a store of files."""
    return settings.model_copy(update={"files_url": f"file://{tmp_path}/files", "files_max_bytes": 1000})


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with Client(settings) as client:
        yield client


def test_every_kind_of_source_is_stored(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "wombats.txt"
    path.write_bytes(CONTENT)
    named = io.BytesIO(CONTENT)
    named.name = "in/memory.txt"
    with path.open("rb") as opened:
        refs = [client.files.upload(source) for source in (path, str(path), CONTENT, opened, named)]
    refs.append(client.files.upload(CONTENT, filename="given.txt"))
    names = ["wombats.txt", "wombats.txt", "file", "wombats.txt", "memory.txt", "given.txt"]
    assert [ref.filename for ref in refs] == names
    assert {(ref.type, ref.size, client.files.read(ref.id)) for ref in refs} == {("text/plain", 21, CONTENT)}
    assert client.files.list() == refs


async def test_the_other_client_takes_streams_too(settings: Settings) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for byte in CONTENT:
            yield bytes([byte])

    async with AsyncClient(settings) as client:
        ref = await client.files.upload(pieces(), filename="a.txt", user="ann", tenant="acme")
        assert await client.files.get(ref.id, user="ann", tenant="acme") == ref
        assert await client.files.read(ref.id, user="ann", tenant="acme") == CONTENT
        await client.files.delete(ref.id, user="ann", tenant="acme")
        assert await client.files.list(user="ann", tenant="acme") == []


def test_a_job_has_of_its_files_the_ids_alone(
    client: Client, queued: Callable[[str], list[bytes]], redis_server: RedisServer
) -> None:
    ref = client.files.upload(CONTENT, filename="wombats.txt", user="ann")
    handle = client.submit("What about them?", files=[ref], user="ann")
    document = client.view(handle.job_id, document=True).document_json
    assert document is not None
    assert ref.id.encode() in document
    assert b"wombats" not in document
    (message,) = queued("normal")
    assert ref.id.encode() not in message
    with redis_server.client() as redis:
        assert not any(b"wombat" in (redis.dump(key) or b"") for key in redis.scan_iter())


def test_a_job_that_may_not_have_a_file_is_refused_before_it_is_stored(
    client: Client, redis_server: RedisServer
) -> None:
    ref = client.files.upload(CONTENT, user="ann")
    with pytest.raises(FileRefusedError):
        client.submit("mine?", files=[ref.id], user="bob")
    with pytest.raises(FileRefusedError):
        client.submit_many([{"messages": "mine?", "files": [ref], "user": "ann", "tenant": "other"}])
    with pytest.raises(FileMissingError):
        client.submit("which?", files=["f1"], user="ann")
    with pytest.raises(ValidationError, match="files"):
        client.submit("many", files=["f"] * 101, user="ann")
    with redis_server.client() as redis:
        assert redis.keys("*job*") == []


async def test_the_other_client_refuses_them_too(settings: Settings) -> None:
    async with AsyncClient(settings) as client:
        ref = await client.files.upload(CONTENT, user="ann")
        with pytest.raises(FileRefusedError):
            await client.submit("mine?", files=[ref.id])


def test_what_cannot_be_stored_is_told(client: Client, tmp_path: Path) -> None:
    large = tmp_path / "large.txt"
    large.write_bytes(b"x" * 1001)
    with pytest.raises(FileTooLargeError, match=r"large\.txt"):
        client.files.upload(large)
    with pytest.raises(ValidationError, match=r"nowhere.txt cannot be read: No such file"):
        client.files.upload(tmp_path / "nowhere.txt")
    with pytest.raises(ValidationError, match="opened for bytes"):
        client.files.upload(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="source: must be a path"):
        client.files.upload(5)  # type: ignore[arg-type]
    assert client.files.list() == []


def test_a_program_that_knows_no_store_leaves_it_to_the_workers(settings: Settings) -> None:
    with Client(settings.model_copy(update={"files_url": ""})) as client:
        assert client.submit("Look", files=["f1"]).job_id
        with pytest.raises(ConfigurationError, match="PALAVER_FILES_URL"):
            client.files.upload(CONTENT)


def test_the_page_shows_a_program(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = program(ROOT / "shared/palaver/shared/stores/README.md", "upload(")
    shown = shown.replace("file:///tmp/palaver-files", settings.files_url)
    monkeypatch.setenv("PALAVER_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("PALAVER_NAMESPACE", settings.namespace)
    exec(shown, {})  # noqa: S102 - what a reader would run
    assert capsys.readouterr().out == "report.txt\n"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"user": True}, "user"),
        ({"user": {"pk": 1}}, "user"),
        ({"tenant": 5}, "tenant"),
        ({"tenant": "a\n"}, "tenant"),
        ({"filename": 5}, "filename"),
    ],
)
def test_a_refused_upload_leaves_nothing(
    client: Client, tmp_path: Path, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        client.files.upload(CONTENT, **{"filename": "a.txt", **fields})
    assert refused.value.param == param
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


def test_a_user_of_a_web_framework_has_files(client: Client) -> None:
    ref = client.files.upload(CONTENT, user=SimpleNamespace(pk=7))
    assert client.files.list(user=7) == client.files.list(user="7") == [ref]
    with pytest.raises(ValidationError, match="file_id"):
        client.files.get(5, user="7")  # type: ignore[arg-type]
