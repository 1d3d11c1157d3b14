"""The files of a batch, in each kind of store: a folder, an S3, memory."""

from collections.abc import AsyncIterator

import pytest

from palaver.shared.batches import SLICE, BatchJob, SliceIndex
from palaver.shared.errors import ConfigurationError, FileMissingError
from palaver.shared.settings import Settings
from palaver.shared.stores.batch_files import BatchFiles

BATCH = BatchJob(batch_id="b1", input="a" * 64, total=300, invalid=1)


@pytest.fixture
def files(files_url: str) -> BatchFiles:
    return BatchFiles.of(Settings(files_url=files_url))


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


async def test_lines_and_results_come_back_as_they_were_stored(files: BatchFiles) -> None:
    await files.put_slice(BATCH, 0, [b"%d\n" % index for index in range(SLICE)])
    await files.put_slice(BATCH, SLICE, [b"256", b"257"])
    assert (await files.slice(BATCH, 0))[255] == b"255"
    assert await files.slice(BATCH, SLICE) == [b"256", b"257"]
    await files.put_slices(BATCH, SliceIndex([(0, 900), (SLICE, 8)], BATCH.total))
    assert (await files.slices(BATCH)).firsts == [0, SLICE]
    await files.put_part("b1", 1, 2, ["one\u2028".encode(), b"two\n"])
    assert await files.part("b1", 1, 2) == ["one\u2028".encode(), b"two"]


async def test_what_is_written_at_the_end_is_a_stream(files: BatchFiles) -> None:
    large = b"x" * 6_000_000 + b"\n"
    await files.put_output("b1", pieces(large, b"last\n"))
    assert b"".join([piece async for piece in files.output("b1")]) == large + b"last\n"
    await files.put_errors("b1", pieces())
    assert [piece async for piece in files.errors("b1")] in ([], [b""])
    await files.put_invalid(BATCH, pieces(b"wrong\n"))
    assert b"".join([piece async for piece in files.invalid(BATCH)]) == b"wrong\n"
    assert [piece async for piece in files.invalid(BATCH.model_copy(update={"invalid": 0}))] == []


async def test_what_is_missing_is_named(files: BatchFiles) -> None:
    with pytest.raises(FileMissingError, match=r"batches/b1/input/a+/00000000\.jsonl"):
        await files.slice(BATCH, 0)
    with pytest.raises(FileMissingError, match=r"batches/b1/output\.jsonl"):
        _ = [piece async for piece in files.output("b1")]


async def test_a_batch_is_removed_and_no_other(files: BatchFiles) -> None:
    await files.put_part("b1", 1, 1, [b"1"])
    await files.put_part("b10", 1, 1, [b"1"])
    await files.delete("b1")
    await files.delete("b1")
    with pytest.raises(FileMissingError):
        await files.part("b1", 1, 1)
    assert await files.part("b10", 1, 1) == [b"1"]


def test_without_a_store_there_are_no_batches() -> None:
    with pytest.raises(ConfigurationError, match="PALAVER_FILES_URL"):
        BatchFiles.of(Settings())
