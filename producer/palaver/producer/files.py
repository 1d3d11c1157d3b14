"""`client.files`: what a job may name in its `files`. Nothing of a file but its id is ever in a job."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from palaver.producer.background import background
from palaver.shared import stores
from palaver.shared.errors import ValidationError
from palaver.shared.jobs import ChatJob
from palaver.shared.owner import Owner
from palaver.shared.plain import refuse, shape
from palaver.shared.settings import Settings

PIECE: Final = 1024 * 1024
"""Bytes that are read at a time."""

Source = str | os.PathLike[str] | bytes | BinaryIO | AsyncIterable[bytes]
"""A path, a content, an open file such as a web framework hands out, or a stream."""


class AsyncFiles:
    """The files of users, by `await`. `user` and `tenant` are those of the jobs that may use a file; a user
    may be an object with a `pk` or an `id` too.

    Every method raises ConfigurationError where PALAVER_FILES_URL names no store, and
    FileStoreUnavailableError; those that name a file FileMissingError, and FileRefusedError if it is another
    user's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: stores.FileStore | None = None

    async def upload(
        self,
        source: Source,
        *,
        filename: str | None = None,
        purpose: str | None = None,
        user: object = None,
        tenant: str | None = None,
    ) -> stores.FileRef:
        """Store a file, read piece by piece as it is sent.

        `filename` is what it is shown as; by default the source's own name. `purpose` changes nothing, and is
        kept. Raises, with nothing stored: FileTooLargeError, FileTypeError, and ValidationError for what is
        empty or cannot be read.
        """
        if filename is not None and not isinstance(filename, str):
            refuse("filename", f"must be a string, not {shape(filename)}")
        name = filename or _name_of(source)
        put = partial(self._store.put, filename=name, purpose=purpose, owner=_owner(tenant, user))
        if isinstance(source, str | os.PathLike):
            with _opened(Path(source)) as file:
                return await put(_pieces(file), size=os.fstat(file.fileno()).st_size)
        if isinstance(source, bytes):
            return await put(source, size=len(source))
        if isinstance(source, AsyncIterable):
            return await put(source)
        return await put(_pieces(source))

    async def get(self, file_id: str, *, user: object = None, tenant: str | None = None) -> stores.FileRef:
        """What is known of a file."""
        return await self._store.stat(file_id, _owner(tenant, user))

    async def read(self, file_id: str, *, user: object = None, tenant: str | None = None) -> bytes:
        """A file's content."""
        return b"".join([piece async for piece in self._store.open(file_id, _owner(tenant, user))])

    async def pieces(
        self, file_id: str, *, user: object = None, tenant: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        """A file's content piece by piece; what is wrong is raised at once, not by the first piece."""
        owner = _owner(tenant, user)
        await self._store.stat(file_id, owner)
        return self._store.open(file_id, owner)

    async def delete(self, file_id: str, *, user: object = None, tenant: str | None = None) -> None:
        """Remove a file, and the text that was extracted from it."""
        await self._store.delete(file_id, _owner(tenant, user))

    async def ids(self, *, user: object = None, tenant: str | None = None) -> Sequence[str]:
        """The ids of a user's files, the oldest first: no file is looked at."""
        return await self._store.ids(_owner(tenant, user))

    async def list(self, *, user: object = None, tenant: str | None = None) -> list[stores.FileRef]:
        """All files of a user, the oldest first."""
        return await self._store.list(_owner(tenant, user))

    async def check(self, jobs: Iterable[ChatJob]) -> None:
        """Refuse jobs that name files which are not there, or not theirs; a process that knows no store
        leaves that to the workers.
        """
        wanted = {(file_id, Owner(tenant=job.tenant, user=job.user)) for job in jobs for file_id in job.files}
        if wanted and self.configured:
            await asyncio.gather(*(self._store.stat(*one) for one in wanted))

    @property
    def configured(self) -> bool:
        """Whether this process knows a store of files."""
        return bool(self._settings.files_url)

    @property
    def _store(self) -> stores.FileStore:
        if self._opened is None:
            self._opened = stores.FileStore.of(self._settings)
        return self._opened


class Files:
    """`AsyncFiles` for programs without an event loop: the same arguments, the same errors."""

    def __init__(self, settings: Settings) -> None:
        self._files = AsyncFiles(settings)

    def upload(
        self,
        source: Source,
        *,
        filename: str | None = None,
        purpose: str | None = None,
        user: object = None,
        tenant: str | None = None,
    ) -> stores.FileRef:
        """Store a file; see `AsyncFiles.upload`."""
        named: dict[str, Any] = {"filename": filename, "purpose": purpose, "user": user, "tenant": tenant}
        return background().run(self._files.upload(source, **named))

    def get(self, file_id: str, *, user: object = None, tenant: str | None = None) -> stores.FileRef:
        """What is known of a file."""
        return background().run(self._files.get(file_id, user=user, tenant=tenant))

    def read(self, file_id: str, *, user: object = None, tenant: str | None = None) -> bytes:
        """A file's content."""
        return background().run(self._files.read(file_id, user=user, tenant=tenant))

    def delete(self, file_id: str, *, user: object = None, tenant: str | None = None) -> None:
        """Remove a file, and the text that was extracted from it."""
        background().run(self._files.delete(file_id, user=user, tenant=tenant))

    def ids(self, *, user: object = None, tenant: str | None = None) -> Sequence[str]:
        """The ids of a user's files, the oldest first: no file is looked at."""
        return background().run(self._files.ids(user=user, tenant=tenant))

    def list(self, *, user: object = None, tenant: str | None = None) -> list[stores.FileRef]:
        """All files of a user, the oldest first."""
        return background().run(self._files.list(user=user, tenant=tenant))

    def check(self, jobs: Iterable[ChatJob]) -> None:
        """Refuse jobs whose files they may not have; see `AsyncFiles.check`."""
        named = [job for job in jobs if job.files]
        if named:
            background().run(self._files.check(named))


def _owner(tenant: str | None, user: object) -> Owner:
    return Owner.validated({"tenant": tenant, "user": user})


def _name_of(source: object) -> str:
    name = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    return os.fspath(name) if isinstance(name, str | os.PathLike) else "file"


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}"
    raise ValidationError(problem, param="source")


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    if not hasattr(file, "read"):
        refuse("source", f"must be a path, bytes or a file, not {shape(file)}")
    while piece := await asyncio.to_thread(file.read, PIECE):
        if not isinstance(piece, bytes):
            refuse("source", f"must be a file that was opened for bytes, not one that gives {shape(piece)}")
        yield piece
