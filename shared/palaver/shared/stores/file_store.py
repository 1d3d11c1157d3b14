"""Files of users: in a folder or an S3, with their names, types and owners.

    content/ID                          the content
    owners/OWNER/files/ID               the `FileRef`, as JSON; a file exists once this does
    owners/OWNER/texts/SHA256/KIND      a text made from the content, for as long as the file

OWNER is a hash of tenant and user. So all of a user's files are in one place, to be listed and deleted, and
an id alone opens nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from palaver.shared.errors import (
    ConfigurationError,
    FileMissingError,
    FileRefusedError,
    FileTooLargeError,
    FileTypeError,
    PalaverError,
    ValidationError,
)
from palaver.shared.owner import Owner
from palaver.shared.plain import refuse, shape
from palaver.shared.settings import Settings
from palaver.shared.stores.file_ref import FileRef, clean_filename, new_file_id, valid_file_id
from palaver.shared.stores.sniffing import SNIFFED, allowed, content_type

if TYPE_CHECKING:
    from palaver.shared.stores.objects import Objects

NOBODY: Final = Owner()
"""Of whom files are that were stored for no tenant and no user."""

PART: Final = 5 * 1024 * 1024
"""Bytes that are read before a file is sent: a smaller one is sent in one piece."""


class FileStore:
    """Takes files and gives them back, each to its owner alone. Belongs to no event loop.

    Every method raises FileStoreUnavailableError; those that name a file FileMissingError, and
    FileRefusedError if it is another owner's.
    """

    def __init__(self, objects: Objects, *, max_bytes: int, types: str) -> None:
        self._objects = objects
        self._max_bytes = max_bytes
        self._types = types

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The store that is configured. Raises ConfigurationError."""
        if not settings.files_url:
            example = "file:///var/lib/palaver/files or s3://bucket/prefix"
            raise ConfigurationError(f"There is no store of files: set PALAVER_FILES_URL, to {example} say.")
        from palaver.shared.stores.objects import Objects  # whose client not everybody has installed

        return cls(
            Objects(settings.files_url), max_bytes=settings.files_max_bytes, types=settings.files_types
        )

    async def put(
        self,
        content: bytes | AsyncIterable[bytes],
        *,
        filename: str,
        purpose: str | None = None,
        owner: Owner = NOBODY,
        size: int | None = None,
    ) -> FileRef:
        """Store a file. `size` is what is known of it before.

        Raises, with nothing stored: FileTooLargeError, FileTypeError, and ValidationError for an empty one.
        """
        name = clean_filename(filename)
        check_size = partial(self._check_size, name)
        check_size(size or 0)
        reading = _Reading(_pieces(content), check_size)
        head = await reading.beginning(PART)
        if not head:
            raise ValidationError(f"{name!r} is empty.", param="content")
        kind = self._checked_type(content_type(head[:SNIFFED], name), name)
        file_id = new_file_id()
        # Made before anything is stored: what it refuses would leave a content that no card names.
        ref = FileRef(
            id=file_id,
            filename=name,
            type=kind,
            size=0,
            sha256="",
            created=time.time(),
            purpose=purpose,
            tenant=owner.tenant,
            user=owner.user,
        )
        await self._objects.put(_content(file_id), head if reading.ended else reading.all())
        ref = ref.model_copy(update={"size": reading.size, "sha256": reading.digest.hexdigest()})
        try:
            await self._objects.put(_card(file_id, owner), ref.to_json())
        except BaseException:
            with suppress(PalaverError):  # then nothing can be done about it
                await self._objects.delete(_content(file_id))
            raise
        return ref

    async def stat(self, file_id: str, owner: Owner = NOBODY) -> FileRef:
        """What is known of a file."""
        if not isinstance(file_id, str):
            refuse("file_id", f"must be the id of a file, not {shape(file_id)}")
        card = await self._objects.get(_card(file_id, owner)) if valid_file_id(file_id) else None
        if card is not None:
            return FileRef.model_validate_json(card)
        if valid_file_id(file_id) and await self._objects.exists(_content(file_id)):
            raise FileRefusedError(f"The file {file_id} belongs to another user or tenant.", param="files")
        raise FileMissingError(f"There is no file {file_id[:64]!r}.", param="files")

    async def open(self, file_id: str, owner: Owner = NOBODY) -> AsyncGenerator[bytes, None]:
        """The content, piece by piece."""
        await self.stat(file_id, owner)
        try:
            async for piece in self._objects.stream(_content(file_id)):
                yield piece
        except FileNotFoundError:  # deleted meanwhile
            raise FileMissingError(f"There is no file {file_id!r}.", param="files") from None

    async def delete(self, file_id: str, owner: Owner = NOBODY) -> None:
        """Remove a file, and every text that was made from it."""
        ref = await self.stat(file_id, owner)
        texts = await self._objects.names(_texts(ref))
        # The card last: a deletion that fails on its way can be repeated.
        await self._objects.delete(_content(file_id), *texts, _card(file_id, owner))

    async def ids(self, owner: Owner) -> Sequence[str]:
        """The ids of an owner's files, the oldest first."""
        names = await self._objects.names(f"{_folder(owner)}/files")
        return [name.rpartition("/")[2] for name in names]

    async def list(self, owner: Owner) -> list[FileRef]:
        """All files of an owner, the oldest first."""
        cards = [await self._objects.get(_card(file_id, owner)) for file_id in await self.ids(owner)]
        return [FileRef.model_validate_json(card) for card in cards if card is not None]

    async def text(self, ref: FileRef, kind: str) -> str | None:
        """A text of this kind that was kept for the file's content; None if there is none."""
        found = await self._objects.get(f"{_texts(ref)}/{kind}")
        return None if found is None else found.decode()

    async def keep_text(self, ref: FileRef, kind: str, text: str) -> None:
        """Keep a text that was made from the file's content: other files of the owner with the same have it
        too. `kind` is of letters, digits and hyphens.
        """
        await self._objects.put(f"{_texts(ref)}/{kind}", text.encode(errors="replace"))

    def _check_size(self, name: str, size: int) -> None:
        if size > self._max_bytes:
            raise FileTooLargeError(
                f"{name!r} is larger than {self._max_bytes} bytes (PALAVER_FILES_MAX_BYTES).", param="content"
            )

    def _checked_type(self, kind: str, name: str) -> str:
        if not allowed(kind, self._types):
            raise FileTypeError(
                f"{name!r} is {kind}, by its content; taken are: {self._types} (PALAVER_FILES_TYPES).",
                param="content",
            )
        return kind


class _Reading:
    """A content that is being read: how much there was, and its digest."""

    def __init__(self, pieces: AsyncIterator[bytes], check: Callable[[int], None]) -> None:
        self.size = 0
        self.digest = hashlib.sha256()
        self.ended = False
        self._pieces = pieces
        self._check = check
        self._head = b""

    async def beginning(self, least: int) -> bytes:
        """The first bytes, `least` of them or more; or, then it has `ended`, all."""
        head = bytearray()
        while len(head) < least:
            piece = await anext(self._pieces, None)
            if piece is None:
                self.ended = True
                break
            head += self._counted(piece)
        self._head = bytes(head)
        return self._head

    async def all(self) -> AsyncIterator[bytes]:
        """Everything, from the first byte on."""
        yield self._head
        async for piece in self._pieces:
            yield self._counted(piece)

    def _counted(self, piece: bytes) -> bytes:
        self.size += len(piece)
        self._check(self.size)
        self.digest.update(piece)
        return piece


async def _pieces(content: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    async for piece in content:
        yield piece


def _folder(owner: Owner) -> str:
    # The length tells ("a", "bc") and ("ab", "c") apart; none and an empty name are the same.
    tenant, user = owner.tenant or "", owner.user or ""
    return f"owners/{hashlib.sha256(f'{len(tenant)}:{tenant}{user}'.encode()).hexdigest()}"


def _card(file_id: str, owner: Owner) -> str:
    return f"{_folder(owner)}/files/{file_id}"


def _texts(ref: FileRef) -> str:
    return f"{_folder(ref.owner)}/texts/{ref.sha256}"


def _content(file_id: str) -> str:
    return f"content/{file_id}"
