"""What clients do with batches: open, look, cancel, read results."""

from collections.abc import Sequence
from typing import Any, Final

from palaver.shared.batches import BatchJob, BatchStatus, BatchView, RequestCounts
from palaver.shared.errors import BatchNotFoundError, ConflictError, ErrorInfo, InternalError
from palaver.shared.ledger.batch_replies import BatchPage, OpenedBatch
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import (
    Argument,
    Command,
    Operation,
    Retention,
    milliseconds,
    reply_error,
    text,
)
from palaver.shared.ledger.operations.admitting import keep_counted, list_of
from palaver.shared.ledger.operations.spending import NANO
from palaver.shared.ledger.operations.verdicts import DUE_SECONDS
from palaver.shared.ledger.operations.webhooks import hurry_webhook, note_webhook
from palaver.shared.ledger.scripts import load

AT_ONCE: Final = 1
"""The score of a batch at which a sweeper is to look now."""
PAGE_BYTES: Final = 4 * 1024 * 1024


def open_batch(keys: Keys, batch: BatchJob, *, retention: Retention) -> Operation[OpenedBatch]:
    """Store a batch, whose lines are in the file store. Sweepers then send for drivers.

    Raises ConflictError for an id that another batch has, and LedgerFullError.
    """

    def decode(raw: Any) -> OpenedBatch:
        if isinstance(raw, Exception):
            raise reply_error(raw)
        if text(raw[0]) == "conflict":
            told = "The idempotency key was used before for a batch with other lines or options."
            raise ConflictError(told, param="idempotency_key")
        return OpenedBatch(batch_id=batch.batch_id, cursor=int(raw[1]), status=BatchStatus(text(raw[2])))

    def after(raw: Any) -> tuple[Command, ...]:
        # A sweep that came between has put it off.
        soon = look_at_batch(keys, batch.batch_id, AT_ONCE)
        if isinstance(raw, Exception) or text(raw[0]) != "ok":
            return soon
        ends = int(raw[3]) / 1000 + batch.completion_window
        return (*soon, *keep_batch_counted(keys, batch, ends=ends))

    args: tuple[Argument, ...] = (
        batch.batch_id,
        batch.to_json(),
        *retention.batch_args(),
        batch.fingerprint[:32],
        batch.total,
        milliseconds(batch.completion_window),
        int(batch.fail_fast),
        batch.tenant or "",
    )
    return Operation(
        script=load("batch_open"),
        keys=(keys.base(batch.batch_id),),
        args=args,
        decode=decode,
        before=(
            *_sweep_soon(keys, batch.batch_id),
            *(
                (note_webhook(keys, batch.batch_id, batch.batch_id, 0, batch.tenant),)
                if batch.webhook
                else ()
            ),
        ),
        after=after,
    )


def keep_batch_counted(keys: Keys, batch: BatchJob, *, ends: float) -> tuple[Command, ...]:
    """A batch that was given a place among the unended jobs keeps it until then, unless it has ended."""
    return keep_counted(keys, batch.batch_id, batch.batch_id, list_of(batch.tenant), ends=ends)


def batch(keys: Keys, batch_id: str) -> Operation[BatchView]:
    """The batch as it is. Raises BatchNotFoundError."""

    def decode(raw: Any) -> BatchView:
        _, document, drivers, *flat = _found(raw, batch_id)
        fields = {text(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
        return _view(BatchJob.stored(document), int(drivers), fields)

    return Operation(script=load("batch_look"), keys=(keys.base(batch_id),), args=(), decode=decode)


def cancel_batch(keys: Keys, batch_id: str, *, retention: Retention) -> Operation[BatchStatus]:
    """Have no line begin any more, and those that run end. Of a batch that is ending by itself, or has ended,
    the status. Raises BatchNotFoundError.
    """

    def decode(raw: Any) -> BatchStatus:
        return BatchStatus(text(_found(raw, batch_id)[1]))

    def after(raw: Any) -> tuple[Command, ...]:
        if text(raw[0]) != "ok":
            return ()
        return (*look_at_batch(keys, batch_id, int(raw[2])), *after_end(keys, batch_id, raw))

    args: tuple[Argument, ...] = (batch_id, "", *retention.batch_args())
    return Operation(
        script=load("batch_cancel"), keys=(keys.base(batch_id),), args=args, decode=decode, after=after
    )


def batch_results(keys: Keys, batch_id: str, *, after: int, count: int) -> Operation[BatchPage]:
    """At most `count` results that follow so many, in order of completion. Raises BatchNotFoundError."""

    def decode(raw: Any) -> BatchPage:
        _, status, results, flushed, part, *lines = _found(raw, batch_id)
        return BatchPage(
            status=BatchStatus(text(status)),
            results=int(results),
            flushed=int(flushed),
            part=_part(part),
            lines=lines,
        )

    args = (after, count, PAGE_BYTES)
    return Operation(script=load("batch_results"), keys=(keys.base(batch_id),), args=args, decode=decode)


def after_end(keys: Keys, batch_id: str, raw: Sequence[Any]) -> tuple[Command, ...]:
    """After a reply `ok`, status, ms: the webhook of a batch that has ended is due, and a sweep counts it."""
    if not BatchStatus(text(raw[1])).ended:
        return ()
    return (hurry_webhook(keys, batch_id, batch_id, int(raw[2])), *look_at_batch(keys, batch_id, AT_ONCE))


def look_at_batch(keys: Keys, batch_id: str, time_ms: int) -> tuple[Command, ...]:
    """A sweeper is to look at the batch then, if it has not ended."""
    return (Command("ZADD", keys.batches, "XX", time_ms, batch_id),)


def _sweep_soon(keys: Keys, batch_id: str) -> tuple[Command, ...]:
    return (
        Command("ZADD", keys.batches, "NX", AT_ONCE, batch_id),
        Command("EXPIRE", keys.batches, DUE_SECONDS),
    )


def _found(raw: Any, batch_id: str) -> Sequence[Any]:
    if isinstance(raw, Exception):
        raise reply_error(raw)
    match text(raw[0]):
        case "ok":
            return raw  # type: ignore[no-any-return]
        case "gone":
            raise BatchNotFoundError(f"There is no batch {batch_id}.", job_id=batch_id)
    raise InternalError("The ledger answered with an unknown word about a batch.")


def _part(word: bytes | str) -> tuple[int, int] | None:
    first, _, last = text(word).partition("-")
    return (int(first), int(last)) if first else None


def _view(job: BatchJob, drivers: int, fields: dict[str, Any]) -> BatchView:
    def number(name: str) -> int:
        return int(fields.get(name, 0))

    def time(name: str) -> float | None:
        return number(name) / 1000 if name in fields else None

    failure = fields.get("error")
    return BatchView(
        batch=job,
        status=BatchStatus(text(fields["status"])),
        counts=RequestCounts(total=job.total, completed=number("completed"), failed=number("failed")),
        tokens=number("tokens"),
        cost=None if "unpriced" in fields else number("nanos") / NANO,
        results=number("n"),
        flushed=number("flushed"),
        running=number("running"),
        drivers=drivers,
        cursor=number("first"),
        created_at=number("created") / 1000,
        expires_at=number("expires") / 1000,
        in_progress_at=time("started"),
        cancelling_at=time("cancelling"),
        finalizing_at=time("finalizing"),
        ended_at=time("ended"),
        error=None if failure is None else ErrorInfo.model_validate_json(failure),
        webhook=text(fields["hook"]) if "hook" in fields else None,
        stored="stored" in fields,
    )
