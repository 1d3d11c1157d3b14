"""The files of jobs on this worker: fetched from the store, read once, remembered there."""

from __future__ import annotations

import asyncio
import codecs
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

from palaver.shared.errors import ConfigurationError, FileMissingError, FileStoreUnavailableError
from palaver.shared.owner import Owner
from palaver.shared.settings import Settings
from palaver.shared.stores import FileRef, FileStore
from palaver.shared.stores.sniffing import suffix_of
from palaver.workers.event_log import event_logger
from palaver.workers.files.extraction import Extracted, Extraction
from palaver.workers.files.extractor import extractor_class
from palaver.workers.files.processes import Processes
from palaver.workers.files.texts import Warn
from palaver.workers.files.tika import Tika

__all__ = ["JobFiles"]

logger = event_logger("palaver.workers.files")

_PLAIN: Final = frozenset(
    ("application/json", "text/csv", "text/markdown", "text/plain", "text/tab-separated-values", "text/xml")
)
"""Types whose text is the file itself."""


class JobFiles:
    """`FileTexts` over the store of files. Belongs to the loop of the streams."""

    def __init__(self, settings: Settings, extraction: Extraction) -> None:
        self._settings = settings
        self._extraction = extraction
        self._decodes = not (settings.text_extractor or settings.tika_url)
        self._opened: FileStore | None = None
        self._reading: dict[tuple[str, Owner], asyncio.Task[Extracted]] = {}  # by the content and its owner

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As it is configured. Raises ConfigurationError for an extractor that is none."""
        if settings.text_extractor and settings.tika_url:
            raise ConfigurationError("PALAVER_TEXT_EXTRACTOR and PALAVER_TIKA_URL exclude each other")
        if settings.text_extractor:
            extractor_class(settings.text_extractor)
        return cls(settings, Tika(settings) if settings.tika_url else Processes(settings))

    async def text(
        self, file_id: str, user: str | None, tenant: str | None = None, *, warn: Warn | None = None
    ) -> str:
        """See `FileTexts.text`."""
        try:
            ref = await self._store.stat(file_id, Owner(tenant=tenant, user=user))
            extracted = await self.read(ref)
        except FileMissingError:
            return ""
        if extracted.problem is not None and warn is not None:
            warn(*extracted.told(ref))
        return extracted.text

    async def attached(
        self, file_ids: Sequence[str], user: str | None, tenant: str | None = None
    ) -> list[FileRef]:
        """See `FileTexts.attached`."""
        found = await asyncio.gather(
            *(self._known(file_id, Owner(tenant=tenant, user=user)) for file_id in file_ids)
        )
        return [ref for ref in found if ref is not None]

    async def read(self, ref: FileRef) -> Extracted:
        """The text of a file, or why there is none. Those who ask for one content together wait for one."""
        kept = await self._store.text(ref, self._extraction.kind)
        if kept is not None:
            return Extracted(text=kept, characters=len(kept))
        key = (ref.sha256, ref.owner)
        if key not in self._reading:
            reading = asyncio.create_task(self._extract(ref), name="palaver-extraction")
            self._reading[key] = reading
            reading.add_done_callback(lambda _: self._reading.pop(key, None))
        # who is cancelled leaves the others their text
        return await asyncio.shield(self._reading[key])

    async def content(self, ref: FileRef) -> bytes:
        """The whole file."""
        return b"".join([piece async for piece in self._store.open(ref.id, ref.owner)])

    async def aclose(self) -> None:
        """End what is being read."""
        for reading in list(self._reading.values()):
            reading.cancel()
        await self._extraction.aclose()

    @property
    def _store(self) -> FileStore:
        if self._opened is None:
            self._opened = FileStore.of(self._settings)
        return self._opened

    async def _known(self, file_id: str, owner: Owner) -> FileRef | None:
        try:
            return await self._store.stat(file_id, owner)
        except FileMissingError:
            return None

    async def _extract(self, ref: FileRef) -> Extracted:
        if self._decodes and ref.type in _PLAIN:
            whole = await asyncio.to_thread(_decoded, await self.content(ref))
            most = self._settings.extract_characters
            extracted = Extracted(text=whole[:most], characters=len(whole))
        else:
            async with self._fetched(ref) as path:
                extracted = await self._extraction.extract(path, ref.type)
        if extracted.problem is not None:
            logger.warning("extraction.failed", file=ref.id, type=ref.type, reason=extracted.problem)
            return extracted
        try:
            await self._store.keep_text(ref, self._extraction.kind, extracted.text)
        except (FileStoreUnavailableError, ConfigurationError) as error:  # whoever asks next reads it again
            logger.warning("extraction.not_kept", file=ref.id, error=error.type)
        return extracted

    @asynccontextmanager
    async def _fetched(self, ref: FileRef) -> AsyncIterator[Path]:
        """The file on this machine, in a folder of its own, for as long as it is read."""
        folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="palaver-file-")
        try:
            path = Path(folder.name) / f"file{suffix_of(ref.type)}"
            with path.open("wb") as file:
                async for piece in self._store.open(ref.id, ref.owner):
                    await asyncio.to_thread(file.write, piece)
            yield path
        finally:
            await asyncio.to_thread(folder.cleanup)


def _decoded(content: bytes) -> str:
    """Text as its byte order mark says, as UTF-8, or byte by byte."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")
