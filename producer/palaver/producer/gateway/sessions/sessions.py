"""`/sessions`: what they are, what was said in them, and what happens in them now."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from palaver.producer.gateway.access.caller import Asking, Caller, Reading
from palaver.producer.gateway.access.owning import check_session, is_uuid, own_job
from palaver.producer.gateway.answers import job_headers, json_response
from palaver.producer.gateway.fanout.frames import parse_cursor
from palaver.producer.gateway.job_rules import allowed_fields
from palaver.producer.gateway.routing import counted_router
from palaver.producer.gateway.sessions.views import (
    Accepted,
    Listed,
    ReaderTokenView,
    Said,
    Session,
    said_in_conversation,
    said_in_history,
    session_of,
)
from palaver.producer.gateway.state import Gateway, Served
from palaver.producer.gateway.stream import ByteStream
from palaver.producer.gateway.tracing import trace_fields
from palaver.producer.interfaces.personal_data import erase_jobs
from palaver.producer.prepare import SEQ_BOUND
from palaver.shared.conversations import ConversationSession
from palaver.shared.errors import (
    BatchNotFoundError,
    JobNotFoundError,
    SessionNotFoundError,
    WrongStateError,
)
from palaver.shared.ids import check_job_id
from palaver.shared.ledger import operations
from palaver.shared.plain import refuse
from palaver.shared.reader_tokens import DEFAULT_SECONDS, MOST_SECONDS, make_reader_token

router = counted_router(tags=["sessions"])

_PAGE: Final = 100
_LARGEST_PAGE: Final = 500
Limit = Annotated[int, Query(ge=1, le=_LARGEST_PAGE)]
After = Annotated[str | None, Query(max_length=128, description="The `after` of the page before.")]
Seq = Annotated[int, Query(ge=0, lt=SEQ_BOUND)]


class NewSession(BaseModel):
    """`agent` answers in it, a model without one; `context` is told to the agent with every message."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})

    agent: str | None = Field(default=None, max_length=256)
    context: dict[str, Any] = {}


class NewMessage(BaseModel):
    """What is said, and how it is to be answered: the fields of a job."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"content": "Hello"}]})

    content: str | list[dict[str, Any]] = Field(description="Text, or a list of parts as OpenAI has them.")
    earlier: list[dict[str, Any]] = Field(
        default=[], max_length=1000, description="What was said before: messages that begin an empty session."
    )
    model: str | list[str] | None = None
    system: str | None = None
    params: dict[str, Any] | None = None
    files: list[str] = []
    on_busy: str = Field(default="enqueue", description="enqueue, reject, interrupt, rollback or parallel.")
    priority: int | None = Field(default=None, ge=0, le=9)
    deadline: float | None = None
    metadata: dict[str, Any] = {}


class NewToken(BaseModel):
    """How long it is to be valid."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"seconds": 600}]})

    seconds: float = Field(default=DEFAULT_SECONDS, gt=0, le=MOST_SECONDS)


@router.get("/sessions")
async def list_sessions(
    gateway: Served, caller: Asking, after: After = None, limit: Limit = _PAGE
) -> Listed[Session]:
    """The caller's sessions that were opened by POST, the latest first."""
    page = await gateway.conversations.sessions(**caller.whose, after=after, limit=limit)
    items = [session_of(found.session_id, found, None) for found in page.items]
    return Listed(items=items, after=page.after)


@router.post("/sessions", status_code=201)
async def open_session(gateway: Served, caller: Asking, body: NewSession) -> Session:
    """Open a session."""
    caller.check_agent(body.agent)
    fields: dict[str, Any] = {"context": body.context, **caller.whose}
    opened = await gateway.conversations.create_session(body.agent, **fields)
    return session_of(opened.session_id, opened, None)


@router.get("/sessions/{session_id}")
async def show_session(gateway: Served, caller: Reading, session_id: str) -> Session:
    """A session, and its jobs that have not ended."""
    opened = await _opened(gateway, caller, session_id)
    now = await gateway.client.ledger.snapshot(session_id, after=0)
    shown = session_of(session_id, opened, now)
    if caller.reads is not None:  # what an agent is told is not for browsers
        shown.context = {}
    return shown


@router.delete("/sessions/{session_id}", status_code=204)
async def delete_session(gateway: Served, caller: Asking, session_id: str) -> Response:
    """Remove a session for good, with all that was said in it; what still runs is cancelled."""
    opened = await _opened(gateway, caller, session_id)
    await _check_no_batch(gateway, session_id)
    if opened is not None:
        await gateway.conversations.delete_session(session_id, **caller.whose)
    else:
        await erase_jobs(gateway.client.ledger, [session_id])
    return Response(status_code=204)


@router.get("/sessions/{session_id}/messages")
async def list_messages(
    gateway: Served, caller: Reading, session_id: str, after: After = None, limit: Limit = _PAGE
) -> Listed[Said]:
    """What was said, the oldest first; an answer is there once its job has ended."""
    opened = await _opened(gateway, caller, session_id)
    if opened is not None:
        page = await gateway.conversations.messages(session_id, **_whose(opened), after=after, limit=limit)
        return Listed(items=[said_in_conversation(message) for message in page.items], after=page.after)
    first = parse_cursor(after) or 0
    lines = await gateway.client.ledger.messages(session_id, first=first, limit=limit + 1)
    following = str(first + limit) if len(lines) > limit else None
    return Listed(items=[said_in_history(line) for line in lines[:limit]], after=following)


@router.post("/sessions/{session_id}/messages", status_code=202, response_model=Accepted)
async def say(
    *,
    request: Request,
    gateway: Served,
    caller: Asking,
    session_id: str,
    body: NewMessage,
    idempotency_key: Annotated[str | None, Header(max_length=256)] = None,
) -> Response:
    """Say something in a session; the answer comes as events."""
    opened = await _opened(gateway, caller, session_id)
    # not `model_dump`, which walks into all that is within
    given = body.model_fields_set - {"content", "earlier"}
    fields: dict[str, Any] = {name: getattr(body, name) for name in given}
    fields = allowed_fields(caller, fields)
    caller.check_agent(None if opened is None else opened.agent_path)
    fields |= {"idempotency_key": idempotency_key, **trace_fields(request)}
    if body.earlier:
        await _check_beginning(gateway, session_id, idempotency_key)
    message: list[Any] = [*body.earlier, {"role": "user", "content": body.content}]
    if opened is not None:
        handle = await gateway.conversations.submit_message(
            session_id, message, caller.user, tenant=caller.tenant, **fields
        )
    else:
        fields |= {"session_id": session_id, **caller.whose}
        handle = await gateway.client.submit(message, **fields)
    accepted = Accepted(job_id=handle.job_id, session_id=handle.session_id, cursor=handle.cursor)
    return json_response(accepted, status=202, headers=job_headers(handle))


@router.get(
    "/sessions/{session_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Server-sent events: `id` is the seq.", "content": {"text/event-stream": {}}}
    },
)
async def follow(
    *,
    gateway: Served,
    caller: Reading,
    session_id: str,
    after: Annotated[Seq, Query(description="Only events with a seq above it.")] = 0,
    job: Annotated[str | None, Query(max_length=128, description="Only this job's, until its end.")] = None,
    last_event_id: Annotated[str | None, Header(description="The last `id`; goes before `after`.")] = None,
) -> ByteStream:
    """All that happens in a session: from its log, then live. Comments break silences of 15 seconds."""
    await check_session(gateway, caller, session_id)
    came = parse_cursor(last_event_id)
    cursor = after if came is None else came
    if job is None:
        pieces = gateway.feeds.follow(session_id, cursor)
    else:
        await _check_job(gateway, caller, session_id, job)
        pieces = gateway.feeds.follow_job(session_id, job, cursor)
    return ByteStream(pieces, live=gateway.streams, caller=caller, session_id=session_id, resumable=True)


@router.post("/sessions/{session_id}/tokens", status_code=201)
async def make_token(gateway: Served, caller: Asking, session_id: str, body: NewToken) -> ReaderTokenView:
    """A token for a browser, which may read this session's events and messages for a while."""
    await check_session(gateway, caller, session_id)
    now = time.time()
    token = make_reader_token(
        gateway.settings,
        session_id,
        tenant=caller.tenant,
        key_id=None if caller.key is None else caller.key.id,
        born=await gateway.client.ledger.born(session_id),
        seconds=body.seconds,
        now=now,
    )
    return ReaderTokenView(token=token, session_id=session_id, expires=now + body.seconds)


async def _opened(gateway: Gateway, caller: Caller, session_id: str) -> ConversationSession | None:
    """What the session was opened as; None for one of jobs alone. Raises SessionNotFoundError."""
    await check_session(gateway, caller, session_id)
    ledger = gateway.client.ledger
    found = await ledger.query(operations.session(ledger.keys, session_id))
    if found is None and caller.reads is None and is_uuid(session_id):
        try:
            return await gateway.conversations.session(session_id, **caller.whose)
        except SessionNotFoundError:
            # Of jobs alone; or erased since, and then it is not there any more.
            await check_session(gateway, caller, session_id)
            return None
    return found


async def _check_no_batch(gateway: Gateway, session_id: str) -> None:
    """Raises WrongStateError for the session of a batch, whose lines and results are elsewhere too."""
    with suppress(BatchNotFoundError):
        await gateway.client.ledger.batch(session_id)
        raise WrongStateError(f"The session {session_id} is a batch's, which is kept and ended as such.")


async def _check_beginning(gateway: Gateway, session_id: str, idempotency_key: str | None) -> None:
    """Raises ValidationError where something was said, unless by this request, which comes again."""
    ledger = gateway.client.ledger
    if not await ledger.messages(session_id, limit=1):
        return
    named = None if idempotency_key is None else operations.is_named(ledger.keys, session_id, idempotency_key)
    if named is None or not await ledger.query(named):
        refuse("earlier", "is only for a session in which nothing was said yet")


def _whose(opened: ConversationSession) -> dict[str, str | None]:
    return opened.owner.model_dump()


async def _check_job(gateway: Gateway, caller: Caller, session_id: str, job_id: str) -> None:
    check_job_id(job_id, param="job")
    if caller.reads is None:
        view = await own_job(gateway, caller, job_id)
    else:
        view = await gateway.client.view(job_id, session_id)
    if view.session_id != session_id:
        raise JobNotFoundError(f"There is no job {job_id}.", job_id=job_id)
