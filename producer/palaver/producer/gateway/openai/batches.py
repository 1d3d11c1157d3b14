"""`/v1/batches`: a file of requests, answered in the queue's own time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any, BinaryIO, Final, Literal, cast

from fastapi import Header, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from palaver.producer.gateway.access.caller import Asking, Caller
from palaver.producer.gateway.access.owning import own_batch
from palaver.producer.gateway.answers import json_response
from palaver.producer.gateway.job_rules import allowed
from palaver.producer.gateway.marks import check_metadata
from palaver.producer.gateway.openai.errors import OPENAI_ERRORS
from palaver.producer.gateway.openai.files import ERRORS, OUTPUT
from palaver.producer.gateway.openai.paging import place_behind
from palaver.producer.gateway.routing import counted_router
from palaver.producer.gateway.state import Gateway, Served
from palaver.shared.batches import CHAT_COMPLETIONS, INPUT_FILE, BatchStatus, BatchView
from palaver.shared.errors import BatchNotFoundError, LedgerUnavailableError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import operations
from palaver.shared.owner import Owner

router = counted_router(tags=["OpenAI"], responses=OPENAI_ERRORS)

_DAY: Final = 24 * 3600.0
_IN_MEMORY: Final = 1024 * 1024
"""A larger input waits in a temporary file while it is read."""
_OBJECT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The batch.", "content": {"application/json": {"schema": {"type": "object"}}}}
}


class NewBatch(BaseModel):
    """As OpenAI's: a file of JSON lines, each a request to `/v1/chat/completions`."""

    model_config = ConfigDict(extra="forbid")

    input_file_id: str
    endpoint: Literal["/v1/chat/completions"]
    completion_window: Literal["24h"]
    metadata: dict[str, str] | None = None
    output_expires_after: None = Field(
        default=None, description="Not offered: results are kept until removed."
    )


@router.post("/v1/batches", responses=_OBJECT)
async def create_batch(
    gateway: Served,
    caller: Asking,
    body: NewBatch,
    idempotency_key: Annotated[str | None, Header(max_length=256)] = None,
) -> Response:
    """Open a batch. Every line is checked first, and nothing is begun while one is wrong."""
    check_metadata(body.metadata)
    fields: dict[str, Any] = {
        **caller.whose,
        "completion_window": _DAY,
        "idempotency_key": caller.own_key(idempotency_key),
        "metadata": {**(body.metadata or {}), INPUT_FILE: body.input_file_id},
    }
    pieces = await gateway.client.files.pieces(body.input_file_id, **caller.whose)
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as content:
        async for piece in pieces:
            await asyncio.to_thread(content.write, piece)
        content.seek(0)
        allow, source = partial(_allowed, caller), cast("BinaryIO", content)
        try:
            handle = await gateway.client.batch(source, allow=allow, **fields)
            return json_response(_batch(await handle.progress()))
        except LedgerUnavailableError as error:
            if idempotency_key is not None:
                raise
            problem = f"{error.message} The batch may have been opened all the same: GET /v1/batches tells."
    # Clients that repeat a request by themselves would have a second one done.
    raise LedgerUnavailableError(problem, retryable=False)


def _allowed(caller: Caller, job: ChatJob) -> ChatJob:
    check_metadata(job.metadata)
    return allowed(caller, job)


@router.get("/v1/batches", responses=_OBJECT)
async def list_batches(
    gateway: Served,
    caller: Asking,
    after: Annotated[str | None, Query(max_length=128, description="The last id of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """The caller's batches, the latest first."""
    ledger = gateway.client.ledger
    ids = await ledger.query(operations.batches_of(ledger.keys, Owner(**caller.whose)))
    ids.reverse()
    first = place_behind(ids, after)
    views = await _views(gateway, caller, ids[first : first + limit])
    data = [_batch(view) for view in views]
    told = {"object": "list", "data": data, "has_more": first + limit < len(ids)}
    names: list[Any] = [batch["id"] for batch in data] or [None]
    return json_response({**told, "first_id": names[0], "last_id": names[-1]})


@router.get("/v1/batches/{batch_id}", responses=_OBJECT)
async def show_batch(gateway: Served, caller: Asking, batch_id: str) -> Response:
    """How far it is."""
    return json_response(_batch(await own_batch(gateway, caller, batch_id)))


@router.post("/v1/batches/{batch_id}/cancel", responses=_OBJECT)
async def cancel_batch(gateway: Served, caller: Asking, batch_id: str) -> Response:
    """Begin no line any more; what is done is kept."""
    await own_batch(gateway, caller, batch_id)
    await gateway.client.ledger.cancel_batch(batch_id)
    return json_response(_batch(await own_batch(gateway, caller, batch_id)))


async def _views(gateway: Gateway, caller: Caller, ids: Sequence[str]) -> list[BatchView]:
    views = []
    for batch_id in ids:
        try:
            views.append(await own_batch(gateway, caller, batch_id))
        except BatchNotFoundError:  # forgotten, or another user's by the same key
            continue
    return views


def _batch(view: BatchView) -> dict[str, Any]:
    """The batch as OpenAI tells it. https://platform.openai.com/docs/api-reference/batch/object"""
    batch, status = view.batch, view.status
    metadata = dict(batch.metadata)
    error = {"code": view.error.code, "message": view.error.message} if view.error else None
    return {
        "id": batch.batch_id,
        "object": "batch",
        "endpoint": CHAT_COMPLETIONS,
        "errors": {"object": "list", "data": [error]} if error else None,
        "input_file_id": metadata.pop(INPUT_FILE, ""),
        "completion_window": "24h",
        "status": status.value,
        "output_file_id": OUTPUT + batch.batch_id if view.stored else None,
        "error_file_id": ERRORS + batch.batch_id if view.stored and view.counts.failed else None,
        "created_at": int(view.created_at),
        "in_progress_at": _at(view.in_progress_at),
        "expires_at": int(view.expires_at),
        "finalizing_at": _at(view.finalizing_at),
        "completed_at": _at(view.ended_at) if status is BatchStatus.COMPLETED else None,
        "failed_at": _at(view.ended_at) if status is BatchStatus.FAILED else None,
        "expired_at": _at(view.ended_at) if status is BatchStatus.EXPIRED else None,
        "cancelling_at": _at(view.cancelling_at),
        "cancelled_at": _at(view.ended_at) if status is BatchStatus.CANCELLED else None,
        "request_counts": view.counts.model_dump(include={"total", "completed", "failed"}),
        "metadata": metadata,
    }


def _at(time: float | None) -> int | None:
    return None if time is None else int(time)
