"""Files go in and come out whole, to their owner alone, the same in a folder, an S3 and memory."""

import asyncio
import hashlib
import os
import re
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from palaver.shared.errors import (
    ConfigurationError,
    FileMissingError,
    FileRefusedError,
    FileStoreUnavailableError,
    FileTooLargeError,
    FileTypeError,
    ValidationError,
    WrongStateError,
)
from palaver.shared.owner import Owner
from palaver.shared.settings import Settings
from palaver.shared.stores import FileRef, FileStore, objects
from palaver.shared.stores.objects import Objects
from tests.s3_server import KEYS, S3Server
from tests.servers import IN_TIME

from .conftest import MakeStore

ANN = Owner(tenant="acme", user="ann")
OTHERS = [
    Owner(),
    Owner(tenant="acme"),
    Owner(tenant="acme", user="bob"),
    Owner(tenant="other", user="ann"),
    Owner(user="ann"),
    Owner(tenant="acmea", user="nn"),
]
A_FILE = "0199f3b0-0000-7000-8000-000000000000"  # that nobody has stored
LARGE = 6 * 1024 * 1024  # more than one part
BEYOND_BUFFERS = 32 * 1024 * 1024  # those of the system, and of the client


async def stream(size: int, piece: int = 999_983) -> AsyncIterator[bytes]:
    """So many bytes of text, in pieces that fit no boundary."""
    while size > 0:
        yield b"x" * min(piece, size)
        size -= piece


async def content_of(store: FileStore, ref: FileRef, owner: Owner) -> bytes:
    return b"".join([piece async for piece in store.open(ref.id, owner)])


async def test_what_went_in_comes_out(store: FileStore) -> None:
    ref = await store.put("Grüße".encode(), filename="gruß.txt", owner=ANN)
    assert (ref.filename, ref.type, ref.size, ref.owner) == ("gruß.txt", "text/plain", 7, ANN)
    assert ref.sha256 == hashlib.sha256("Grüße".encode()).hexdigest()
    assert await store.stat(ref.id, ANN) == ref
    assert await content_of(store, ref, ANN) == "Grüße".encode()


async def test_a_stream_of_several_parts_goes_through(store: FileStore) -> None:
    ref = await store.put(stream(LARGE), filename="large.txt")
    assert ref.size == LARGE
    content = await content_of(store, ref, Owner())
    assert hashlib.sha256(content).hexdigest() == ref.sha256
    assert len(content) == LARGE


async def test_a_file_is_its_owners_alone(store: FileStore) -> None:
    ref = await store.put(b"mine", filename="a.txt", owner=ANN)
    for other in OTHERS:
        with pytest.raises(FileRefusedError, match=ref.id):
            await store.stat(ref.id, other)
        with pytest.raises(FileRefusedError):
            await content_of(store, ref, other)
        with pytest.raises(FileRefusedError):
            await store.delete(ref.id, other)
        assert await store.list(other) == []
    assert await content_of(store, ref, ANN) == b"mine"


async def test_an_owners_files_are_listed_and_deleted_with_their_texts(store: FileStore) -> None:
    first, second = [await store.put(text, filename="a.txt", owner=ANN) for text in (b"one", b"two")]
    await store.keep_text(first, "eng", "the text")
    assert await store.text(first, "eng") == "the text"
    assert await store.text(second, "eng") is None
    assert await store.list(ANN) == [first, second]
    await store.delete(first.id, ANN)
    assert await store.list(ANN) == [second]
    assert await store.text(first, "eng") is None
    with pytest.raises(FileMissingError):
        await content_of(store, first, ANN)


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "..",
        "../../etc/passwd",
        "/etc/passwd",
        "a\0b",
        "..%2F..%2Fx",
        "x" * 10_000,
        "7a56bdc6-8da0-416d-8a47-658842287b3c/../x",
        "\n",
    ],
)
async def test_a_hostile_id_names_nothing(store: FileStore, hostile: str) -> None:
    for id_ in (hostile, A_FILE):
        with pytest.raises(FileMissingError):
            await store.stat(id_, ANN)
        with pytest.raises(FileMissingError):
            await store.delete(id_, ANN)


async def test_what_is_refused_is_not_stored(make_store: MakeStore, files_url: str, tmp_path: Path) -> None:
    store = make_store(files_max_bytes=LARGE - 1, files_types="text/plain, image/*")
    with pytest.raises(FileTooLargeError, match="PALAVER_FILES_MAX_BYTES"):
        await store.put(stream(10), filename="a.txt", owner=ANN, size=LARGE)
    with pytest.raises(FileTooLargeError):
        await store.put(stream(LARGE), filename="a.txt", owner=ANN)
    with pytest.raises(FileTypeError, match="application/pdf"):
        await store.put(b"%PDF-1.7\n", filename="a.txt", owner=ANN)
    with pytest.raises(ValidationError, match="empty"):
        await store.put(b"", filename="a.txt", owner=ANN)
    assert await store.list(ANN) == []
    assert await store._objects.names("") == []
    if files_url.startswith("file:"):
        assert [name for _, _, names in os.walk(tmp_path) for name in names] == []


async def test_an_upload_that_breaks_leaves_no_file(store: FileStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        async for piece in stream(LARGE):
            yield piece
        raise ConnectionResetError("the browser went away")

    with pytest.raises((ConnectionResetError, FileStoreUnavailableError)):
        await store.put(broken(), filename="a.txt", owner=ANN)
    assert await store._objects.names("") == []


async def test_a_content_whose_card_cannot_be_written_does_not_stay(tmp_path: Path) -> None:
    store = FileStore.of(Settings(files_url=f"file://{tmp_path}"))
    (tmp_path / "owners").touch()  # not a folder
    with pytest.raises(FileStoreUnavailableError):
        await store.put(b"tea", filename="tea.txt")
    assert [name for _, _, names in os.walk(tmp_path) for name in names] == ["owners"]


async def test_hostile_names_are_shown_and_lead_nowhere(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    for name, shown in {
        "../../etc/cron.d/x.txt": "x.txt",
        "C:\\temp\\y.txt": "y.txt",
        "a\r\nb\0.txt": "ab.txt",
        "..": "file",
        "/": "file",
        "n" * 1000 + ".txt": "n" * 251 + ".txt",
    }.items():
        assert (await store.put(b"text", filename=name, owner=ANN)).filename == shown
    outside = {path for path, _, names in os.walk(tmp_path) if names} - {
        path for path, _, _ in os.walk(tmp_path / "files of mine")
    }
    assert outside == set()


@pytest.mark.xdist_group("s3")
async def test_no_part_of_a_broken_upload_stays_in_an_s3(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_server.open_to(monkeypatch)
    bucket = f"b{uuid4().hex}"
    settings = Settings(files_url=s3_server.url(bucket), files_max_bytes=LARGE)
    with pytest.raises(FileTooLargeError):
        await FileStore.of(settings).put(stream(LARGE + 1), filename="a.txt")
    assert "<Upload>" not in s3_server.listed(bucket, "uploads")


@pytest.mark.xdist_group("s3")
async def test_who_takes_a_file_slowly_has_it_whole(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An S3 may not be silent; who reads may be, for longer."""
    s3_server.open_to(monkeypatch)
    settings = Settings(files_url=s3_server.url(f"b{uuid4().hex}"), files_max_bytes=BEYOND_BUFFERS)
    ref = await FileStore.of(settings).put(stream(BEYOND_BUFFERS), filename="large.txt")
    monkeypatch.setattr(objects, "_SILENT_SECONDS", 3.0)
    shorter = {"max_retries": 2, "retry_timeout": timedelta(seconds=1)}  # than a silence, as they are
    monkeypatch.setattr(objects, "_RETRY", shorter)
    pieces = FileStore.of(settings).open(ref.id)
    read = len(await anext(pieces))
    await asyncio.sleep(5)
    async for piece in pieces:
        read += len(piece)
    assert read == BEYOND_BUFFERS


async def test_an_s3_that_falls_silent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_SILENT_SECONDS", 0.2)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"content-length: 9\r\nlast-modified: Mon, 01 Jan 2024 00:00:00 GMT\r\netag: x\r\n\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"half")
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        store = Objects(f"s3://bucket?endpoint=http://127.0.0.1:{port}")
        with pytest.raises(FileStoreUnavailableError):
            async with asyncio.timeout(IN_TIME):
                assert not [piece async for piece in store.stream("x")]
        assert asked.is_set()


async def test_a_folder_is_closed_to_other_users_of_the_machine(tmp_path: Path) -> None:
    FileStore.of(Settings(files_url=f"file://{tmp_path}/new/folder"))
    assert stat.S_IMODE((tmp_path / "new/folder").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "set PALAVER_FILES_URL"),
        ("/var/files", "must be file:///folder"),
        ("ftp://host/x", "must be file:///folder"),
        ("file://", "by its whole path"),
        ("file://host/x", "by its whole path"),
        ("file:///dev/null/x", "cannot be used"),
        ("file:///tmp/x?mode=1", "unknown: mode"),
        ("s3://", "must name a bucket"),
        ("s3://id:key@bucket/x", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_wrong_setting_is_told_when_it_is_used(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as error:
        FileStore.of(Settings(files_url=url))
    assert "key@" not in str(error.value)


async def test_an_s3_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    url = "s3://bucket?endpoint=http://127.0.0.1:9"
    with pytest.raises(FileStoreUnavailableError, match=re.escape("s3://bucket")) as error:
        await FileStore.of(Settings(files_url=url)).put(b"text", filename="a.txt")
    assert "hush-hush" not in str(error.value)


@pytest.mark.xdist_group("s3")
async def test_a_bucket_that_is_not_there_is_told(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_server.open_to(monkeypatch)
    url = f"s3://nobody-made-it?endpoint={s3_server.endpoint}"
    with pytest.raises(ConfigurationError, match="is not there"):
        await FileStore.of(Settings(files_url=url)).put(b"text", filename="a.txt")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_is_told_instead_of_waiting_for_ever(tmp_path: Path) -> None:
    store = FileStore.of(Settings(files_url=f"file://{tmp_path}/x"))
    ref = asyncio.run(store.put(b"text", filename="a.txt"))
    child = os.fork()
    if not child:
        try:
            store.stat(ref.id).send(None)
        except WrongStateError:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_the_door_costs_nothing() -> None:
    """Who asks for no file loads no client of a store."""
    program = """
import sys
from palaver.producer import AsyncClient, Client
from palaver.shared.stores import FileStore
from palaver.workers.files import JobFiles
assert not {"kreuzberg", "obstore"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
