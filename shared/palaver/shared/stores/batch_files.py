"""The files of a batch: its lines, its results, its output. Where they are: `palaver.shared.batches`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import TYPE_CHECKING, Self

from palaver.shared.batches import (
    BatchJob,
    SliceIndex,
    batch_folder,
    errors_name,
    output_name,
    part_name,
)
from palaver.shared.errors import ConfigurationError, FileMissingError
from palaver.shared.settings import Settings

if TYPE_CHECKING:
    from palaver.shared.stores.objects import Objects


class BatchFiles:
    """Lines go in and come out as bytes, each without its newline. Belongs to no event loop.

    Every method raises FileStoreUnavailableError; those that read, FileMissingError.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those in the store that is configured. Raises ConfigurationError."""
        if not settings.files_url:
            raise ConfigurationError(
                "A batch keeps its lines and results in the store of files: set PALAVER_FILES_URL, to"
                " file:///var/lib/palaver/files or s3://bucket/prefix say (palaver dev has one)."
            )
        from palaver.shared.stores.objects import Objects  # whose client not everybody has installed

        return cls(Objects(settings.files_url))

    async def put_slice(self, batch: BatchJob, first: int, lines: Iterable[bytes]) -> int:
        """Store the slice that begins with this index; how many bytes it has."""
        content = _joined(lines)
        await self._objects.put(batch.slice_name(first), content)
        return len(content)

    async def slice(self, batch: BatchJob, first: int) -> list[bytes]:
        """The slice that begins with this index."""
        return await self._lines(batch.slice_name(first))

    async def put_slices(self, batch: BatchJob, index: SliceIndex) -> None:
        """Store which slices there are: the last of the input, which is whole then."""
        await self._objects.put(batch.slices_name, index.to_json())

    async def slices(self, batch: BatchJob) -> SliceIndex:
        """Which slices there are."""
        return SliceIndex.parse(await self._whole(batch.slices_name), batch)

    async def put_part(self, batch_id: str, first: int, last: int, lines: Iterable[bytes]) -> None:
        """Store results, counted from 1 in order of completion."""
        await self._objects.put(part_name(batch_id, first, last), _joined(lines))

    async def part(self, batch_id: str, first: int, last: int) -> list[bytes]:
        """The results of a part."""
        return await self._lines(part_name(batch_id, first, last))

    async def put_invalid(self, batch: BatchJob, content: AsyncIterable[bytes]) -> None:
        """Store the errors of the lines that were left out."""
        await self._objects.put(batch.invalid_name, content)

    def invalid(self, batch: BatchJob) -> AsyncGenerator[bytes, None]:
        """The errors of the lines that were left out, piece by piece; nothing if none was."""
        return self._stream(batch.invalid_name) if batch.invalid else _nothing()

    async def put_output(self, batch_id: str, content: AsyncIterable[bytes]) -> None:
        """Store output.jsonl."""
        await self._objects.put(output_name(batch_id), content)

    async def put_errors(self, batch_id: str, content: AsyncIterable[bytes]) -> None:
        """Store errors.jsonl."""
        await self._objects.put(errors_name(batch_id), content)

    async def size(self, name: str) -> int:
        """Bytes of an object, by its full name."""
        size = await self._objects.size(name)
        if size is None:
            raise _missing(name)
        return size

    def output(self, batch_id: str) -> AsyncGenerator[bytes, None]:
        """output.jsonl, piece by piece."""
        return self._stream(output_name(batch_id))

    def errors(self, batch_id: str) -> AsyncGenerator[bytes, None]:
        """errors.jsonl, piece by piece."""
        return self._stream(errors_name(batch_id))

    async def delete(self, batch_id: str) -> None:
        """Remove everything of a batch."""
        await self._objects.delete(*await self._objects.names(batch_folder(batch_id)))

    async def _lines(self, name: str) -> list[bytes]:
        return (await self._whole(name)).splitlines()

    async def _whole(self, name: str) -> bytes:
        found = await self._objects.get(name)
        if found is None:
            raise _missing(name)
        return found

    async def _stream(self, name: str) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in self._objects.stream(name):
                yield piece
        except FileNotFoundError:
            raise _missing(name) from None


def _joined(lines: Iterable[bytes]) -> bytes:
    return b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines)


def _missing(name: str) -> FileMissingError:
    return FileMissingError(f"The store of files has no {name}: it was removed, or this is another store.")


async def _nothing() -> AsyncGenerator[bytes, None]:
    for _ in ():
        yield b""
