"""`/v1/files`: a user's files, and the results of his batches."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, Literal

from fastapi import File, Form, UploadFile
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from palaver.producer.gateway.access.caller import Asking, Caller
from palaver.producer.gateway.access.owning import own_batch
from palaver.producer.gateway.counting import counted_router
from palaver.producer.gateway.openai.errors import OPENAI_ERRORS
from palaver.producer.gateway.state import Gateway, Served
from palaver.shared.batches import BatchView
from palaver.shared.errors import FileMissingError
from palaver.shared.stores import FileRef

router = counted_router(tags=["OpenAI"], responses=OPENAI_ERRORS)

OUTPUT: Final = "batch-output-"
ERRORS: Final = "batch-errors-"
"""What the ids of a batch's results begin with; the batch's id follows."""

_PIECE: Final = 1024 * 1024


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
    """All files of a user, the oldest first."""

    object: Literal["list"] = "list"
    data: list[FileObject]
    has_more: Literal[False] = False


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
    purpose: Annotated[str, Form(max_length=64)] = "user_data",
) -> FileObject:
    """Store a file, which jobs and batches may name."""
    pieces = _pieces(file)
    ref = await gateway.client.files.upload(pieces, filename=file.filename or "file", **caller.whose)
    return _file(ref, purpose)


@router.get("/v1/files")
async def list_files(gateway: Served, caller: Asking) -> FileList:
    """The caller's files."""
    return FileList(data=[_file(ref) for ref in await gateway.client.files.list(**caller.whose)])


@router.get("/v1/files/{file_id}")
async def show_file(gateway: Served, caller: Asking, file_id: str) -> FileObject:
    """What is known of a file."""
    if (batch := await _batch_of(gateway, caller, file_id)) is not None:
        return _result(file_id, batch)
    return _file(await gateway.client.files.get(file_id, **caller.whose))


@router.delete("/v1/files/{file_id}")
async def delete_file(gateway: Served, caller: Asking, file_id: str) -> FileDeleted:
    """Remove a file."""
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
        content = files.output(batch_id) if file_id.startswith(OUTPUT) else files.errors(batch_id)
        return StreamingResponse(content, media_type="application/octet-stream")
    pieces = await gateway.client.files.pieces(file_id, **caller.whose)
    return StreamingResponse(pieces, media_type="application/octet-stream")


async def _batch_of(gateway: Gateway, caller: Caller, file_id: str) -> BatchView | None:
    """The batch whose results these are; None for a file. Raises BatchNotFoundError, FileMissingError."""
    for prefix in (OUTPUT, ERRORS):
        if file_id.startswith(prefix):
            view = await own_batch(gateway, caller, file_id.removeprefix(prefix))
            if not view.stored:
                raise FileMissingError("The batch has not ended.", param="files")
            return view
    return None


def _file(ref: FileRef, purpose: str | None = None) -> FileObject:
    """A file of which nobody says what it is for is told by its name."""
    told = "batch" if ref.filename.endswith(".jsonl") else "user_data"
    return FileObject(
        id=ref.id,
        bytes=ref.size,
        created_at=int(ref.created),
        filename=ref.filename,
        purpose=purpose or told,
    )


def _result(file_id: str, view: BatchView) -> FileObject:
    created: Any = view.ended_at or view.created_at
    # How many bytes they are only the store knows, and nobody asks.
    return FileObject(
        id=file_id, bytes=0, created_at=int(created), filename=f"{file_id}.jsonl", purpose="batch_output"
    )


async def _pieces(file: UploadFile) -> AsyncGenerator[bytes, None]:
    while piece := await file.read(_PIECE):
        yield piece
