"""`/v1/responses`: answers that are kept, and can be asked for, followed again and cancelled."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import Query
from pydantic import BaseModel
from starlette.responses import Response

from palaver.producer.cursor import Entry
from palaver.producer.gateway.access.caller import Asking, Caller
from palaver.producer.gateway.access.owning import own_job
from palaver.producer.gateway.answers import ESTIMATED, job_headers, json_response
from palaver.producer.gateway.asking import Job, check_model, entries_of, nobody_waits
from palaver.producer.gateway.marks import UNSTORED
from palaver.producer.gateway.openai import responses_request as request
from palaver.producer.gateway.openai.errors import OPENAI_ERRORS
from palaver.producer.gateway.openai.paging import listed
from palaver.producer.gateway.openai.responses_answer import (
    PREFIX,
    ResponseDialect,
    draft,
    input_items,
    whole,
)
from palaver.producer.gateway.openai.responses_body import CountRequest, Prompt, ResponsesRequest
from palaver.producer.gateway.openai.responses_request import Kept
from palaver.producer.gateway.places import renamed
from palaver.producer.gateway.routing import counted_router
from palaver.producer.gateway.state import Gateway, Served
from palaver.producer.gateway.stream import ByteStream
from palaver.producer.gateway.translation import Translation
from palaver.producer.handles import AsyncJobHandle
from palaver.producer.interfaces.personal_data import erase_jobs
from palaver.producer.prepare import SEQ_BOUND
from palaver.shared.beside import beside
from palaver.shared.errors import JobNotFoundError, PalaverError, WrongStateError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import JobView, operations
from palaver.shared.token_estimate import prompt_tokens

router = counted_router(tags=["OpenAI"], responses=OPENAI_ERRORS)

_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The response, or with `stream` its events.",
        "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
    }
}
_CANCEL_SECONDS: Final = 5.0


class ResponseDeleted(BaseModel):
    """A response that is gone."""

    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


class InputItems(BaseModel):
    """What a response was asked with."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class InputTokens(BaseModel):
    """About how many tokens they are: no tokenizer is asked."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: int


@router.post("/v1/responses", responses=_ANSWER)
async def create_response(asker: Job, body: ResponsesRequest) -> Response:
    """Answer; with `background`, later."""
    gateway = asker.gateway
    most = gateway.settings.history_messages
    with renamed(request.place):
        previous = await _previous(gateway, asker.caller, body)
        if previous is not None:
            asker = replace(asker, session_id=asker.session_id or previous.view.session_id)
        handle = await asker.submit(
            lambda: {**request.job_fields(body), "history": request.history_of(previous, most)},
            [body, previous and previous.job],
            marks=request.marks(body),
        )
    if not body.stream and not body.background and await asker.whole(handle) is None:
        return nobody_waits()
    response = await _kept(await gateway.client.view(handle.job_id, handle.session_id, document=True))
    if body.stream:
        return _stream(gateway, asker.caller, handle, response, when_gone=partial(asker.left, handle))
    return json_response(whole(response), headers=job_headers(handle))


@router.get("/v1/responses/{response_id}", responses=_ANSWER)
async def show_response(
    gateway: Served,
    caller: Asking,
    response_id: str,
    stream: bool = False,
    starting_after: Annotated[
        int | None, Query(ge=0, lt=SEQ_BOUND, description="Only events with a sequence_number above it.")
    ] = None,
) -> Response:
    """A response as it is now, or its events from its first or from any other on."""
    response = await _own(gateway, caller, response_id)
    handle = await gateway.client.job(response.view.job_id)
    if stream:
        after = -1 if starting_after is None else starting_after
        return _stream(gateway, caller, handle, response, after=after)
    return json_response(whole(response), headers=job_headers(handle))


@router.post("/v1/responses/{response_id}/cancel", responses=_ANSWER)
async def cancel_response(gateway: Served, caller: Asking, response_id: str) -> Response:
    """End a response; one that has ended stays what it is."""
    response = await _own(gateway, caller, response_id)
    handle = await gateway.client.job(response.view.job_id)
    await handle.cancel()
    with suppress(PalaverError):  # the job's own, or that its worker takes its time
        await handle.result(_CANCEL_SECONDS)
    ended = replace(response, view=await gateway.client.view(handle.job_id, handle.session_id))
    return json_response(whole(ended), headers=job_headers(handle))


@router.delete("/v1/responses/{response_id}")
async def delete_response(gateway: Served, caller: Asking, response_id: str) -> ResponseDeleted:
    """Remove a response for good; what still runs is cancelled. One that shares its session with others goes
    with the session: DELETE /sessions/{id}.
    """
    view = (await _own(gateway, caller, response_id)).view
    ledger = gateway.client.ledger
    opened = await ledger.query(operations.session(ledger.keys, view.session_id))
    now = await ledger.snapshot(view.session_id, after=0)
    # Where jobs are forgotten, what was said in them may still be there.
    if opened is not None or now.forgotten or {*now.jobs, *now.ended} != {view.job_id}:
        told = (
            f"The response is one of several in the session {view.session_id}, which is removed as a whole."
        )
        raise WrongStateError(told)
    await erase_jobs(ledger, [view.session_id])
    return ResponseDeleted(id=response_id)


@router.get("/v1/responses/{response_id}/input_items")
async def list_input_items(
    *,
    gateway: Served,
    caller: Asking,
    response_id: str,
    after: Annotated[str | None, Query(max_length=256, description="The last id of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> InputItems:
    """What the response was asked with, the latest first."""
    job = (await _own(gateway, caller, response_id)).job
    items = await beside(lambda: input_items(job), job)
    return InputItems(**listed(items if order == "asc" else items[::-1], after=after, limit=limit))


@router.post("/v1/responses/input_tokens", response_model=InputTokens)
async def count_input_tokens(gateway: Served, caller: Asking, body: CountRequest) -> Response:
    """Estimate how many tokens an input has: too many rather than too few."""
    await check_model(gateway, caller, body.model)
    with renamed(request.place):
        previous = await _previous(gateway, caller, body)
        most = gateway.settings.history_messages
        tokens = await beside(lambda: _estimated(body, previous, most), [body, previous and previous.job])
    return json_response(InputTokens(input_tokens=tokens), headers=ESTIMATED)


def _estimated(body: Prompt, previous: Kept | None, most: int) -> int:
    fields = {**request.prompt_fields(body), "history": request.history_of(previous, most)}
    return prompt_tokens(ChatJob.validated(fields))


async def _previous(gateway: Gateway, caller: Caller, body: Prompt) -> Kept | None:
    """The response that a request goes on from, if it does."""
    if body.previous_response_id is None:
        return None
    return await _own(gateway, caller, body.previous_response_id)


async def _own(gateway: Gateway, caller: Caller, response_id: str) -> Kept:
    """A response of the caller's; one that was not to be stored is as unknown as one that never was."""
    unknown = JobNotFoundError(f"There is no response {response_id[:128]!r}.")
    if not response_id.startswith(PREFIX):
        raise unknown
    view = await own_job(gateway, caller, response_id.removeprefix(PREFIX), document=True)
    if view.document_json is None:  # it was refused, and not here: what no job was made of is no response
        raise unknown
    response = await _kept(view)
    if response.job.metadata.get(UNSTORED):
        raise unknown
    return response


async def _kept(view: JobView) -> Kept:
    document = view.document_json or b""
    return Kept(view, await beside(lambda: ChatJob.parse(document), document))


def _stream(
    gateway: Gateway,
    caller: Caller,
    handle: AsyncJobHandle,
    response: Kept,
    *,
    after: int = -1,
    when_gone: Callable[[], Awaitable[object]] | None = None,
) -> Response:
    view = response.view
    dialect = ResponseDialect(draft(view.job_id, view.created, response.job), after=after)
    return ByteStream(
        _events(entries_of(gateway, handle), dialect),
        live=gateway.streams,
        caller=caller,
        session_id=handle.session_id,
        headers=job_headers(handle),
        when_gone=when_gone,
    )


async def _events(
    portions: AsyncGenerator[list[Entry], None], dialect: ResponseDialect
) -> AsyncGenerator[bytes, None]:
    """The events, of which the first is told before anything has happened."""
    translation = Translation(dialect, model="")
    if created := dialect.created():
        yield created
    async with aclosing(portions):
        async for entries in portions:
            told = []
            for entry in entries:
                told.append(translation.feed([entry]))
                if entry.type == "resync":
                    dialect.resynced()
            if piece := b"".join(told):
                yield piece
