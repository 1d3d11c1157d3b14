"""`/v1/responses`: answers that are kept, and can be asked for, followed again and cancelled."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import Query
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from palaver.producer.cursor import Entry
from palaver.producer.gateway.access.caller import Asking, Caller
from palaver.producer.gateway.access.owning import own_job
from palaver.producer.gateway.answers import job_headers, json_response
from palaver.producer.gateway.asking import Job, entries_of, nobody_waits
from palaver.producer.gateway.counting import counted_router
from palaver.producer.gateway.openai import responses_request as request
from palaver.producer.gateway.openai.errors import OPENAI_ERRORS, renamed
from palaver.producer.gateway.openai.responses_answer import (
    BACKGROUND,
    PREFIX,
    PREVIOUS,
    ResponseDialect,
    draft,
    numbered,
    whole,
)
from palaver.producer.gateway.state import Gateway, Served
from palaver.producer.gateway.stream import ByteStream
from palaver.producer.gateway.translation import Translation
from palaver.producer.handles import AsyncJobHandle
from palaver.shared.errors import JobNotFoundError, PalaverError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import JobView

router = counted_router(tags=["OpenAI"], responses=OPENAI_ERRORS)

_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The response, or with `stream` its events.",
        "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
    }
}
_CANCEL_SECONDS: Final = 5.0


class ResponsesRequest(BaseModel):
    """As OpenAI's; `model` is `profile/model` or an alias, or left out: then the default answers.

    A response is kept as long as its job (`PALAVER_RETENTION`), whatever `store` says.
    """

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [{"input": "Hello"}]})

    input: str | list[dict[str, Any]]
    model: str | None = None
    stream: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    metadata: dict[str, Any] | None = None


@router.post("/v1/responses", responses=_ANSWER)
async def create_response(asker: Job, body: ResponsesRequest) -> Response:
    """Answer; with `background`, later."""
    gateway, marks = asker.gateway, dict[str, Any]()
    with renamed(request.place):
        fields = request.job_fields(body.model_dump(exclude_unset=True))
        if body.previous_response_id is not None:
            previous = await _own(gateway, asker.caller, body.previous_response_id)
            fields["history"] = request.history_of(previous)
            asker = replace(asker, session_id=asker.session_id or previous.session_id)
            marks[PREVIOUS] = body.previous_response_id
        if body.background:
            marks[BACKGROUND] = True
        handle = await asker.submit(fields.pop("messages"), fields, marks=marks)
    if body.stream:
        view = await gateway.client.view(handle.job_id, handle.session_id, document=True)
        return _stream(gateway, asker.caller, handle, view, starting_after=0)
    if not body.background and await asker.whole(handle) is None:
        return nobody_waits()
    view = await gateway.client.view(handle.job_id, handle.session_id, document=True)
    return json_response(whole(view), headers=job_headers(handle))


@router.get("/v1/responses/{response_id}", responses=_ANSWER)
async def show_response(
    gateway: Served,
    caller: Asking,
    response_id: str,
    stream: bool = False,
    starting_after: Annotated[
        int, Query(ge=0, lt=2**53, description="Only events with a sequence_number above it.")
    ] = 0,
) -> Response:
    """A response as it is now, or its events from its first or from any other on."""
    view = await _own(gateway, caller, response_id)
    handle = await gateway.client.job(view.job_id)
    if stream:
        return _stream(gateway, caller, handle, view, starting_after=starting_after)
    return json_response(whole(view), headers=job_headers(handle))


@router.post("/v1/responses/{response_id}/cancel", responses=_ANSWER)
async def cancel_response(gateway: Served, caller: Asking, response_id: str) -> Response:
    """End a response; one that has ended stays what it is."""
    view = await _own(gateway, caller, response_id)
    handle = await gateway.client.job(view.job_id)
    await handle.cancel()
    with suppress(PalaverError):  # the job's own, or that its worker takes its time
        await handle.result(_CANCEL_SECONDS)
    view = await gateway.client.view(view.job_id, view.session_id, document=True)
    return json_response(whole(view), headers=job_headers(handle))


async def _own(gateway: Gateway, caller: Caller, response_id: str) -> JobView:
    if not response_id.startswith(PREFIX):
        raise JobNotFoundError(f"There is no response {response_id[:128]!r}.")
    return await own_job(gateway, caller, response_id.removeprefix(PREFIX), document=True)


def _stream(
    gateway: Gateway, caller: Caller, handle: AsyncJobHandle, view: JobView, *, starting_after: int
) -> Response:
    job = view.document or ChatJob(messages="-", job_id=view.job_id)
    begun = draft(view.job_id, view.created, job)
    pieces = _events(entries_of(gateway, handle), begun, starting_after)
    return ByteStream(
        pieces,
        live=gateway.streams,
        caller=caller,
        session_id=handle.session_id,
        headers=job_headers(handle),
    )


async def _events(
    portions: AsyncGenerator[list[Entry], None], begun: dict[str, Any], starting_after: int
) -> AsyncGenerator[bytes, None]:
    """The events; all are made, since what they say depends on those before, and those asked for told."""
    translation = Translation(ResponseDialect(begun), model=begun["model"])
    async with aclosing(portions):
        async for entries in portions:
            told = [
                numbered(events, before=entry.seq - 1, seq=entry.seq)
                for entry in entries
                # of what a resync tells nobody knows how much was told: the end has all of it
                if (events := translation.feed([entry]))
                and entry.seq > starting_after
                and not (starting_after and entry.type == "resync")
            ]
            if told:
                yield b"".join(told)
