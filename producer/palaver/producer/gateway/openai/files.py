"""`/v1/files`: a user's files, and the results of his batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, Literal

from fastapi import File, Form, Query, UploadFile
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from palaver.producer.gateway.access.caller import Asking, Caller
from palaver.producer.gateway.access.owning import own_batch
from palaver.producer.gateway.openai.errors import OPENAI_ERRORS
from palaver.producer.gateway.openai.paging import listed, place_behind
from palaver.producer.gateway.routing import counted_router
from palaver.producer.gateway.state import Gateway, Served
from palaver.producer.gateway.stream import ByteStream
from palaver.shared.batches import BatchView, errors_name, output_name
from palaver.shared.errors import FileMissingError
from palaver.shared.plain import refuse
from palaver.shared.stores import FileRef

router = counted_router(tags=["OpenAI"], responses=OPENAI_ERRORS)

OUTPUT: Final = "batch-output-"
ERRORS: Final = "batch-errors-"
"""What the ids of a batch's results begin with; the batch's id follows."""

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]

_PIECE: Final = 1024 * 1024
_AT_ONCE: Final = 20
"""Files that are looked at together."""


class FileObject(BaseModel):
    """A file. `created_at` is Unix time in seconds."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"


class FileList(BaseModel):
    """A page of a user's files."""

    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileDeleted(BaseModel):
    """A file that is gone."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


@router.post("/v1/files")
async def upload_file(
    gateway: Served,
    caller: Asking,
    file: Annotated[UploadFile, File(description="At most PALAVER_FILES_MAX_BYTES.")],
    purpose: Annotated[Purpose, Form()] = "user_data",
    expires_after: Annotated[
        str | None, Form(alias="expires_after[anchor]", description="Not offered: files are kept.")
    ] = None,
) -> FileObject:
    """Store a file, which jobs and batches may name."""
    if expires_after is not None:
        refuse("expires_after", "is not offered: a file is kept until it is removed")
    named: dict[str, Any] = {"filename": file.filename or "file", "purpose": purpose}
    return _file(await gateway.client.files.upload(_pieces(file), **named, **caller.whose))


@router.get("/v1/files")
async def list_files(
    *,
    gateway: Served,
    caller: Asking,
    purpose: Annotated[str | None, Query(max_length=64, description="Only those that are for this.")] = None,
    after: Annotated[str | None, Query(max_length=256, description="The last id of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
) -> FileList:
    """The caller's files, the latest first. Results of batches are not among them: batches name them."""
    ids = await gateway.client.files.ids(**caller.whose)
    ids = ids if order == "asc" else ids[::-1]
    wanted: list[dict[str, Any]] = []
    at_once = min(limit + 1, _AT_ONCE)
    for start in range(place_behind(ids, after), len(ids), at_once):
        found = await asyncio.gather(*(_known(gateway, caller, one) for one in ids[start : start + at_once]))
        wanted += [file.model_dump() for file in found if file and purpose in (None, file.purpose)]
        if len(wanted) > limit:
            break
    return FileList(**listed(wanted, after=None, limit=limit))


@router.get("/v1/files/{file_id}")
async def show_file(gateway: Served, caller: Asking, file_id: str) -> FileObject:
    """What is known of a file."""
    if (batch := await _batch_of(gateway, caller, file_id)) is not None:
        return await _result(gateway, file_id, batch)
    return _file(await gateway.client.files.get(file_id, **caller.whose))


@router.delete("/v1/files/{file_id}")
async def delete_file(gateway: Served, caller: Asking, file_id: str) -> FileDeleted:
    """Remove a file."""
    if await _batch_of(gateway, caller, file_id) is not None:
        refuse("file_id", "is a result of a batch, which is kept as long as the batch")
    await gateway.client.files.delete(file_id, **caller.whose)
    return FileDeleted(id=file_id)


@router.get(
    "/v1/files/{file_id}/content",
    response_class=StreamingResponse,
    responses={200: {"description": "The content.", "content": {"application/octet-stream": {}}}},
)
async def read_file(gateway: Served, caller: Asking, file_id: str) -> Response:
    """A file's content."""
    if (batch := await _batch_of(gateway, caller, file_id)) is not None:
        files, batch_id = gateway.client.batch_files, batch.batch.batch_id
        pieces = files.output(batch_id) if file_id.startswith(OUTPUT) else files.errors(batch_id)
    else:
        pieces = await gateway.client.files.pieces(file_id, **caller.whose)
    media_type = "application/octet-stream"
    return ByteStream(pieces, live=gateway.streams, caller=caller, keep_alive=b"", media_type=media_type)


async def _known(gateway: Gateway, caller: Caller, file_id: str) -> FileObject | None:
    try:
        return _file(await gateway.client.files.get(file_id, **caller.whose))
    except FileMissingError:  # removed meanwhile
        return None


async def _batch_of(gateway: Gateway, caller: Caller, file_id: str) -> BatchView | None:
    """The batch whose results these are; None for a file. Raises BatchNotFoundError, FileMissingError."""
    for prefix in (OUTPUT, ERRORS):
        if file_id.startswith(prefix):
            view = await own_batch(gateway, caller, file_id.removeprefix(prefix))
            if not view.stored:
                raise FileMissingError("The batch has not ended.", param="files")
            return view
    return None


def _file(ref: FileRef) -> FileObject:
    """A file of which nobody said what it is for is told by its name."""
    told = "batch" if ref.filename.endswith(".jsonl") else "user_data"
    return FileObject(
        id=ref.id,
        bytes=ref.size,
        created_at=int(ref.created),
        filename=ref.filename,
        purpose=ref.purpose or told,
    )


async def _result(gateway: Gateway, file_id: str, view: BatchView) -> FileObject:
    created: Any = view.ended_at or view.created_at
    name = output_name if file_id.startswith(OUTPUT) else errors_name
    return FileObject(
        id=file_id,
        bytes=await gateway.client.batch_files.size(name(view.batch.batch_id)),
        created_at=int(created),
        filename=f"{file_id}.jsonl",
        purpose="batch_output",
    )


async def _pieces(file: UploadFile) -> AsyncGenerator[bytes, None]:
    while piece := await file.read(_PIECE):
        yield piece
