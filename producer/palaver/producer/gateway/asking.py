"""Jobs of OpenAI's and Anthropic's clients: submitted, waited for, streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request
from starlette.responses import Response

from palaver.producer.cursor import Entry
from palaver.producer.gateway.access.caller import Asking, Caller
from palaver.producer.gateway.access.owning import check_session
from palaver.producer.gateway.answers import job_headers
from palaver.producer.gateway.faults import UNNAMED
from palaver.producer.gateway.job_rules import allowed_fields
from palaver.producer.gateway.shapes import Json
from palaver.producer.gateway.state import Gateway, Served
from palaver.producer.gateway.stream import KEEP_ALIVE, ByteStream
from palaver.producer.gateway.tracing import trace_fields
from palaver.producer.gateway.translation import Dialect, Translation
from palaver.producer.handles import AsyncJobHandle
from palaver.producer.prepare import Admission
from palaver.shared.beside import beside
from palaver.shared.errors import (
    GatewayStoppedError,
    LedgerUnavailableError,
    PalaverError,
    StreamInterruptedError,
)
from palaver.shared.ids import new_job_id
from palaver.shared.plain import refuse
from palaver.shared.responses import ChatResponse

PATIENCE_SECONDS: Final = 1.0
"""How long a stream waits for its first words before it answers 200: what fails sooner has a status."""
_CLIENT_LEFT: Final = 499


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks for an answer, and what the headers say of the job."""

    gateway: Gateway
    caller: Caller
    request: Request
    idempotency_key: str | None
    session_id: str | None
    cancels: bool

    async def submit(
        self, making: Callable[[], Json], asked: Any, *, marks: Mapping[str, Any] | None = None
    ) -> AsyncJobHandle:
        """Submit the job whose fields `making` makes of what is asked; `marks` are metadata of our own.
        Raises what `Client.submit` raises, ForbiddenError, SessionNotFoundError.
        """
        job = await beside(partial(self._allowed, making), asked)
        if marks:
            job["metadata"] = {**(job.get("metadata") or {}), **marks}
        job |= {**self.caller.whose, **trace_fields(self.request)}
        job["idempotency_key"] = self.caller.own_key(self.idempotency_key)
        if self.session_id is not None:
            await check_session(self.gateway, self.caller, self.session_id)
            job["session_id"] = self.session_id
        if self.idempotency_key is None:
            self.request.scope[UNNAMED] = job["job_id"] = new_job_id()
        try:
            handle: AsyncJobHandle = await self.gateway.client.submit(job.pop("messages"), **job)
        except LedgerUnavailableError as error:
            if error.answered:  # there is no such job, and who asks again does right
                self.request.scope.pop(UNNAMED, None)
            raise
        return handle

    def _allowed(self, making: Callable[[], Json]) -> Json:
        return {"history": None, **allowed_fields(self.caller, making())}

    async def whole(self, handle: AsyncJobHandle) -> ChatResponse | None:
        """The answer; None once nobody waits for it any more. Raises the job's error, GatewayStoppedError."""
        waiting = asyncio.create_task(handle.result())
        leaving = asyncio.create_task(_until_gone(self.request))
        stopping = asyncio.create_task(self.gateway.streams.over.wait())
        try:
            await asyncio.wait((waiting, leaving, stopping), return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            if stopping.done():
                raise self._stopped(handle)
        finally:
            for task in (waiting, leaving, stopping):
                task.cancel()
        await self.left(handle)
        return None

    def _stopped(self, handle: AsyncJobHandle) -> GatewayStoppedError:
        """Clients that repeat a request by themselves would have it done twice, without a key."""
        has_key = self.idempotency_key is not None
        where = "the request with its Idempotency-Key" if has_key else "GET /jobs/ID (X-Palaver-Job)"
        told = f"The gateway stops before the end of the answer; its job goes on, and {where} has it then."
        return GatewayStoppedError(told, job_id=handle.job_id, retry_after=1.0, retryable=has_key)

    async def left(self, handle: AsyncJobHandle) -> None:
        """The client has left before the end."""
        if self.cancels:
            with suppress(PalaverError):  # there is nobody to tell; the job ends by itself
                await handle.cancel()

    async def stream(
        self, handle: AsyncJobHandle, dialect: Dialect, *, model: str, keep_alive: bytes = KEEP_ALIVE
    ) -> Response:
        """The answer as a stream. Raises what fails before the first word, and soon: the job, or who reads
        its events.
        """
        translation = Translation(dialect, model=model)
        pieces = _told(entries_of(self.gateway, handle), translation)
        first = asyncio.create_task(anext(pieces, b""))
        await asyncio.wait([first], timeout=PATIENCE_SECONDS)
        if first.done():
            first.result()
            if translation.error is not None and not translation.begun:
                await pieces.aclose()
                raise translation.error
        return ByteStream(
            _after(first, pieces),
            live=self.gateway.streams,
            caller=self.caller,
            session_id=handle.session_id,
            headers=job_headers(handle),
            keep_alive=keep_alive,
            when_gone=lambda: self.left(handle),
            last_words=lambda error: b"" if translation.done else translation.fail(error),
        )


async def _asker(
    *,
    request: Request,
    gateway: Served,
    caller: Asking,
    idempotency_key: Annotated[
        str | None, Header(max_length=256, description="Given again, it names the same job.")
    ] = None,
    x_palaver_session: Annotated[
        str | None, Header(max_length=128, description="The session that the job is to be in.")
    ] = None,
    x_palaver_on_disconnect: Annotated[
        str | None, Header(description="`cancel`: the job ends when the client leaves.")
    ] = None,
) -> Asker:
    if x_palaver_on_disconnect not in (None, "cancel"):
        refuse("X-Palaver-On-Disconnect", "must be cancel, or left out")
    return Asker(
        gateway=gateway,
        caller=caller,
        request=request,
        idempotency_key=idempotency_key,
        session_id=x_palaver_session,
        cancels=x_palaver_on_disconnect == "cancel",
    )


Job = Annotated[Asker, Depends(_asker)]
"""Who asks, as a parameter of a route."""


async def check_model(gateway: Gateway, caller: Caller, model: str | None) -> None:
    """Raises ForbiddenError, and ValidationError for a model that nobody serves; None is the default."""
    models = [] if model is None else [model]
    caller.check_models(models)
    admission = Admission(None)
    admission.update(await gateway.client.served())
    admission.check(models)


def nobody_waits() -> Response:
    """What is answered to a client that has left."""
    return Response(status_code=_CLIENT_LEFT)


async def entries_of(gateway: Gateway, handle: AsyncJobHandle) -> AsyncGenerator[list[Entry], None]:
    """A job's events from its first one, in the portions in which they come, until its end."""
    reader = gateway.client.reading.reader(handle.session_id, handle.cursor, handle.job_id)
    async with aclosing(reader):
        while (entries := await reader.entries()) is not None:
            yield entries


async def _told(
    portions: AsyncGenerator[list[Entry], None], translation: Translation
) -> AsyncGenerator[bytes, None]:
    """What is to be told, up to an end that tells how it ended: also when it is not known how the job did."""
    try:
        async with aclosing(portions):
            async for entries in portions:
                if piece := translation.feed(entries):
                    yield piece
                if translation.done:
                    return
        lost: PalaverError = StreamInterruptedError("The job's events ended before its answer did.")
    except PalaverError as error:
        lost = error
    yield translation.fail(lost)


async def _after(
    first: asyncio.Task[bytes], pieces: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    try:
        if piece := await first:
            yield piece
        async for piece in pieces:
            yield piece
    finally:
        first.cancel()
        with suppress(asyncio.CancelledError, PalaverError):
            await first
        await pieces.aclose()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
