"""Objects by their names: in a folder, in an S3, or in memory. The only module that knows obstore.

Its client is compiled, has its own threads, and does not block the loop. It does not outlive a fork: a child
would wait for ever, so it is told.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from palaver.shared.errors import (
    ConfigurationError,
    FileStoreUnavailableError,
    PalaverError,
    WrongStateError,
)
from palaver.shared.settings import redacted_url

try:
    import obstore
    from obstore import exceptions, store
except ModuleNotFoundError:
    raise ConfigurationError("PALAVER_FILES_URL needs a package more: pip install 'palaver[files]'") from None

_PART: Final = 5 * 1024 * 1024  # bytes: the least that S3 takes
_PARTS_AT_ONCE: Final = 2
_PIECE: Final = 64 * 1024
"""Bytes that are read at a time, or a little more: so much waits in memory for a reader who is slow."""
_CONNECT_SECONDS: Final = 5.0
_SILENT_SECONDS: Final = 60.0
_LONGEST_SECONDS: Final = 24 * 3600.0
"""Of an answer: it is read as slowly as who asked for it takes it."""
_RETRY: Final[Any] = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}
_OPTIONS: Final = frozenset(("endpoint", "region"))
_REFUSED: Final = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
_MISSING: Final = (exceptions.NotFoundError, FileNotFoundError)


class Objects:
    """The objects below one address. Names are of letters, digits, hyphens, dots and slashes.

    Raises FileStoreUnavailableError, and ConfigurationError where the place refuses its credentials.
    """

    def __init__(self, url: str) -> None:
        self.url = redacted_url(url)
        self._store = _opened(url)
        self._process: int | None = None

    async def put(self, name: str, content: bytes | AsyncIterable[bytes]) -> None:
        """Store an object, whole or not at all. What `content` raises is raised."""
        whole = isinstance(content, bytes)
        with self._told(writing=True):
            await obstore.put_async(
                self._store,
                name,
                content,
                use_multipart=not whole,
                chunk_size=_PART,
                max_concurrency=_PARTS_AT_ONCE,
            )

    async def get(self, name: str) -> bytes | None:
        """An object's content; None if there is none."""
        try:
            with self._told():
                found = await obstore.get_async(self._store, name)
                return bytes(await found.bytes_async())
        except _MISSING:
            return None

    async def stream(self, name: str) -> AsyncIterator[bytes]:
        """An object's content, piece by piece. Raises FileNotFoundError."""
        try:
            with self._told():
                found = await obstore.get_async(self._store, name)
                async for piece in found.stream(_PIECE):
                    yield bytes(piece)
        except exceptions.NotFoundError:
            raise FileNotFoundError(name) from None

    async def exists(self, name: str) -> bool:
        """Whether there is such an object."""
        return await self.size(name) is not None

    async def size(self, name: str) -> int | None:
        """How many bytes an object has; None if there is none."""
        try:
            with self._told():
                return int((await obstore.head_async(self._store, name))["size"])
        except _MISSING:
            return None

    async def delete(self, *names: str) -> None:
        """Remove objects; those that are not there are no error."""
        for name in names:
            try:
                with self._told():
                    await obstore.delete_async(self._store, name)
            except _MISSING:
                pass

    async def names(self, folder: str) -> list[str]:
        """The names of all objects below a folder, in order."""
        with self._told():
            found = await obstore.list(self._store, folder).collect_async()
        return sorted(item["path"] for item in found)

    @contextmanager
    def _told(self, *, writing: bool = False) -> Iterator[None]:
        """Its errors become ours; what is not there is the caller's business, unless it is the place."""
        if self._process not in (None, os.getpid()):
            raise WrongStateError("The store of files was used before this process was forked; make another.")
        self._process = os.getpid()
        problem: PalaverError
        try:
            yield
        except _REFUSED:
            problem = ConfigurationError(f"{self.url} refuses the credentials that it was given.")
        except _MISSING:
            if not writing:
                raise
            problem = ConfigurationError(f"{self.url} is not there: no file can be stored in it.")
        except (exceptions.BaseError, OSError) as error:
            problem = FileStoreUnavailableError(f"{self.url} cannot be used ({_first_line(error)}).")
        else:
            return
        raise problem


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def _opened(url: str) -> store.ObjectStore:
    parts = urlsplit(url)
    makers = {"file": _folder, "s3": _s3, "memory": _memory}
    if parts.scheme not in makers:
        known = "file:///folder, s3://bucket/prefix?endpoint=…&region=… or memory:"
        raise ConfigurationError(f"PALAVER_FILES_URL must be {known}, not {redacted_url(url)}")
    query = dict(parse_qsl(parts.query))
    if unknown := query.keys() - (_OPTIONS if parts.scheme == "s3" else frozenset()):
        raise ConfigurationError(
            f"PALAVER_FILES_URL has options that are unknown: {', '.join(sorted(unknown))}"
        )
    return makers[parts.scheme](parts.netloc, unquote(parts.path), query)


def _folder(host: str, path: str, _: Mapping[str, str]) -> store.ObjectStore:
    if host not in ("", "localhost") or not path.strip("/"):
        raise ConfigurationError("PALAVER_FILES_URL must name a folder by its whole path: file:///var/lib/…")
    try:
        Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"PALAVER_FILES_URL: {path} cannot be used: {error.strerror}") from error
    return store.LocalStore(path, automatic_cleanup=True)  # no empty folders stay behind


def _s3(bucket: str, path: str, query: Mapping[str, str]) -> store.ObjectStore:
    if not bucket or "@" in bucket or ":" in bucket:
        how = "keys belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        raise ConfigurationError(
            f"PALAVER_FILES_URL must name a bucket, and nothing else before its prefix; {how}"
        )
    client: Any = {**_bounds(), "allow_http": query.get("endpoint", "").startswith("http://")}
    options: Any = dict(query)
    try:
        return store.S3Store(
            bucket, prefix=path.strip("/") or None, client_options=client, retry_config=_RETRY, **options
        )
    except (exceptions.BaseError, ValueError) as error:
        raise ConfigurationError(f"PALAVER_FILES_URL: {_first_line(error)}") from None


def _bounds() -> dict[str, timedelta]:
    return {
        "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=_SILENT_SECONDS),
        "timeout": timedelta(seconds=_LONGEST_SECONDS),
    }


def _memory(_: str, __: str, ___: Mapping[str, str]) -> store.ObjectStore:
    return store.MemoryStore()
