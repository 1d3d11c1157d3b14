"""A whole job document that came as a message: checked, stored, or refused where its reader will look.

Needs no Celery: `palaver.submit` is a door to `accept`.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
import orjson

from palaver.shared.beside import beside
from palaver.shared.errors import (
    ErrorInfo,
    LedgerFullError,
    PalaverError,
    ServiceUnavailableError,
    ValidationError,
)
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import AsyncLedger, Submitted, operations
from palaver.shared.settings import Settings
from palaver.shared.webhooks import check_webhook, networks
from palaver.workers.event_log import event_logger

__all__ = ["Envelope", "accept", "document_in", "document_of", "most_bytes", "names_in", "too_large"]

logger = event_logger("palaver.workers.submission")

T = TypeVar("T")

ADDRESS: Final = ("job_id", "session_id", "tenant", "idempotency_key")
"""The fields that say which job it is, and in which session."""
FIRST_PAUSE: Final = 0.5  # seconds
LONGEST_PAUSE: Final = 10.0


_NULL: Final = msgspec.Raw(b"null")


class _Names(msgspec.Struct):
    """What of a document says which job it is; the rest is passed over, and never becomes an object."""

    job_id: msgspec.Raw = _NULL
    session_id: msgspec.Raw = _NULL
    tenant: msgspec.Raw = _NULL
    idempotency_key: msgspec.Raw = _NULL


class _Call(_Names):
    job: msgspec.Raw = _NULL


_MESSAGE: Final = msgspec.json.Decoder(tuple[list[msgspec.Raw], _Call, msgspec.Raw])
_DOCUMENT: Final = msgspec.json.Decoder(_Names | str | None)
_WRITTEN: Final = msgspec.json.Decoder(_Names)
_NAME: Final = msgspec.json.Decoder(str)


def most_bytes(document: int) -> int:
    """Bytes of the largest message that may hold a document of so many: outside of ASCII, Celery writes each
    character of three bytes as six, and such of four as twelve.
    """
    return 3 * document + 64 * 1024


def too_large(document: int) -> ValidationError:
    """Why a message beyond `most_bytes` is refused."""
    return ValidationError(f"the job is larger than {document} bytes")


def names_in(body: bytes | str) -> Mapping[str, str]:
    """The fields of the document in a message that say which job it is, found without reading the others; of
    those, what is no text is left out.
    """
    try:
        args, call, _ = _MESSAGE.decode(body)
        document = _DOCUMENT.decode(args[0] if args else call.job)
        names = _WRITTEN.decode(document) if isinstance(document, str) else document
    except msgspec.DecodeError:
        return {}
    return {**(_texts(names) if names else {}), **_texts(call)}


def _texts(names: _Names) -> dict[str, str]:
    found = {}
    for name in ADDRESS:
        with suppress(msgspec.DecodeError):
            found[name] = _NAME.decode(getattr(names, name))
    return found


def document_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The document of a call: `(job)`, `(job=job)` or `(**fields)`.

    Arguments too many become fields that no job has: the document is refused, but still names its job.
    """
    if args:
        document, *others = args
    else:
        others, document = [], kwargs.get("job")
        kwargs = {name: value for name, value in kwargs.items() if name != "job"}
    more = {**kwargs, **{f"args[{place}]": None for place in range(1, len(others) + 1)}}
    if not more:
        return document
    return {**(_named(document) or {}), **more}


def document_in(call: Any) -> Any:
    """The document in what a message's body says, of either protocol of Celery's, as far as there is one."""
    match call:
        case Mapping():
            args, kwargs = call.get("args"), call.get("kwargs")
        case [args, kwargs, *_]:
            pass
        case _:
            return None
    fields = kwargs if isinstance(kwargs, Mapping) else {}
    return document_of(args if isinstance(args, list | tuple) else (), fields)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a message says of the job in it, for what that does not say itself: the idempotency key and the
    time at which it is due. `unwanted`: why it is not to be accepted, whatever it says.
    """

    key: str | None = None
    run_at: float | None = None
    unwanted: PalaverError | None = None


NOTHING: Final = Envelope()


async def accept(
    ledger: AsyncLedger, settings: Settings, document: Any, told: Envelope = NOTHING
) -> Submitted:
    """Store the job; the promises of a job begin with that.

    While the ledger cannot be written it waits: the message is the only copy. A document that cannot be
    accepted raises its error, after the job that it names was ended with that error.
    """
    try:
        if told.unwanted is not None:
            raise told.unwanted
        job = await beside(lambda: _read(document, settings, told), document)
        return await _patiently(job.job_id, lambda: ledger.submit(job))
    except PalaverError as error:
        await _refuse(ledger, document, error, told.key)
        raise


def _read(document: Any, settings: Settings, told: Envelope) -> ChatJob:
    fields = _named(document)
    if fields is not None:
        document = {"deadline": settings.deadline, **_keyed(fields, told.key)}
        if document.get("run_at") is None:
            document["run_at"] = told.run_at
    job = ChatJob.parse(document, max_bytes=settings.max_document_bytes)
    if job.webhook is not None:
        check_webhook(job.webhook, networks(settings.webhook_networks))
    return job


def _keyed(document: Mapping[str, Any], key: str | None) -> Mapping[str, Any]:
    """The document with this key if it has none of its own; null is none."""
    if document.get("idempotency_key") is None:
        return {**document, "idempotency_key": key}
    return document


async def _patiently(job_id: str, write: Callable[[], Awaitable[T]]) -> T:
    pause = FIRST_PAUSE
    while True:
        try:
            return await write()
        except (ServiceUnavailableError, LedgerFullError) as error:
            logger.warning("submit.waiting", job_id=job_id, error=error.code, delay=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def _refuse(ledger: AsyncLedger, document: Any, error: PalaverError, key: str | None) -> None:
    """Give the named job its terminal event; nobody can wait for one that is not named."""
    job = _skeleton(_keyed(_named(document) or {}, key))
    if job is None:
        logger.warning("submit.discarded", **_told(error), task_id=key, reason="it names no job")
        return
    error.job_id = job.job_id
    session_id, job_id, told = operations.session_of(job), job.job_id, ErrorInfo.of(error)
    await _patiently(job_id, lambda: ledger.refuse(session_id, job_id, told))
    logger.info("submit.refused", **_told(error), job_id=job_id)


def _told(error: PalaverError) -> dict[str, Any]:
    """What a line of log says of it: of the field at fault only a name of ours, for others may be content."""
    field = re.split(r"[.\[]", error.param or "", maxsplit=1)[0]
    return {"error": error.code, "field": field if field in ChatJob.model_fields else None}


def _skeleton(named: Mapping[str, Any]) -> ChatJob | None:
    """A job of this name in the session of the document, had it been a good one; None if it names no job.

    What is wrong among the fields that decide the session is left out.
    """
    fields = {name: named.get(name) for name in ADDRESS}
    while True:
        try:
            return ChatJob.parse({"messages": "none", **fields})
        except ValidationError as unfit:
            if unfit.param is None or unfit.param == "job_id" or fields.pop(unfit.param, None) is None:
                return None


def _named(document: Any) -> Mapping[str, Any] | None:
    """The document, also of JSON, as far as it can be read at all."""
    if isinstance(document, str):
        with suppress(orjson.JSONDecodeError):
            document = orjson.loads(document)
    return document if isinstance(document, Mapping) else None
