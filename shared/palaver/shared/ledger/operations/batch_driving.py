"""What the drivers of a batch do: claim its lines, tell their results, store those, end it. And what sweepers
do for them.

A driver's operations raise LeaseError: FencedError for one that was given up, JobEndedError, JobGoneError.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from palaver.shared.batches import BatchStatus
from palaver.shared.errors import FencedError
from palaver.shared.ledger.batch_replies import BatchStop, ClaimedLines, Gathered, LineResult, NotedResults
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import (
    Argument,
    Command,
    Operation,
    Query,
    Retention,
    milliseconds,
    reply_error,
    text,
)
from palaver.shared.ledger.operations.admitting import list_of, uncount
from palaver.shared.ledger.operations.batch_keeping import after_retention
from palaver.shared.ledger.operations.batches import AT_ONCE, after_end, look_at_batch
from palaver.shared.ledger.operations.spending import NANO, count_batch, fields_of
from palaver.shared.ledger.operations.sweeping import POISONED_AFTER
from palaver.shared.ledger.operations.verdicts import accepted, is_ok
from palaver.shared.ledger.replies import SweepTurn
from palaver.shared.ledger.scripts import load

WAITING_RESULTS: Final = 10_000
WAITING_BYTES: Final = 32 * 1024 * 1024
"""No line is given out while so much waits to be stored: the ledger is no place for it."""

_ORPHAN_MS: Final = 60_000


def claim_lines(
    keys: Keys,
    batch_id: str,
    *,
    token: str,
    ticket: int,
    worker: str,
    lease: float,
    room: int,
    window: int,
) -> Operation[ClaimedLines]:
    """Take at most `room` lines; of `window` that run at once in all, each driver has its share. Tickets
    count from 1, the first makes the driver one, for `lease` seconds. Of lines that are given up if their
    driver dies once more it holds one at a time.
    """

    def decode(raw: Any) -> ClaimedLines:
        _, stop, state, *flat = accepted(raw, batch_id)
        lines = {int(index): int(deaths) for index, deaths in zip(flat[::2], flat[1::2], strict=True)}
        return ClaimedLines(stop=_stop(stop), state=text(state), lines=lines)  # type: ignore[arg-type] # the script's

    waiting = (WAITING_RESULTS, WAITING_BYTES)
    args = (ticket, worker, milliseconds(lease), room, window, *waiting, POISONED_AFTER)
    return _operation("batch_claim", keys, batch_id, token=token, args=args, decode=decode)


def note_results(
    keys: Keys, batch_id: str, *, token: str, results: Sequence[LineResult], retention: Retention
) -> Operation[NotedResults]:
    """Tell what became of lines. Those that the driver does not hold are left out."""

    def decode(raw: Any) -> NotedResults:
        _, stop, waiting, waiting_bytes = accepted(raw, batch_id)
        return NotedResults(stop=_stop(stop), waiting=int(waiting), waiting_bytes=int(waiting_bytes))

    words = (word for result in results for word in _words(result))
    return _operation(
        "batch_done", keys, batch_id, token=token, args=(*retention.batch_args(), *words), decode=decode
    )


def renew_driver(keys: Keys, batch_id: str, *, token: str, lease: float) -> Operation[BatchStop]:
    """Go on for `lease` seconds; why the batch was stopped, if it was."""

    def decode(raw: Any) -> BatchStop:
        return _stop(accepted(raw, batch_id)[1])

    return _operation("batch_renew", keys, batch_id, token=token, args=(milliseconds(lease),), decode=decode)


def leave_batch(keys: Keys, batch_id: str, *, token: str) -> Operation[None]:
    """Be a driver no more: what it holds is anybody's, and a sweeper looks who is missing."""

    def decode(raw: Any) -> None:
        accepted(raw, batch_id)

    look = look_at_batch(keys, batch_id, AT_ONCE)
    return replace(
        _operation("batch_leave", keys, batch_id, token=token, args=(), decode=decode),
        after=lambda _raw: look,
    )


def gather_results(
    keys: Keys, batch_id: str, *, token: str, most: int, most_bytes: int
) -> Operation[Gathered | None]:
    """Results that are in no part yet, for the driver that stores them; None: that is another one."""

    def decode(raw: Any) -> Gathered | None:
        reply = accepted(raw, batch_id, "busy")
        if text(reply[0]) == "busy":
            return None
        return Gathered(flushed=int(reply[1]), over=bool(reply[2]), results=reply[3:])

    return _operation("batch_gather", keys, batch_id, token=token, args=(most, most_bytes), decode=decode)


def flush_results(keys: Keys, batch_id: str, *, token: str, gathered: Gathered) -> Operation[None]:
    """The results are in the part of their numbers, and leave the ledger. Raises FencedError where another
    driver stores them.
    """

    def decode(raw: Any) -> None:
        if text(accepted(raw, batch_id, "busy")[0]) == "busy":
            raise FencedError("Another driver stores the results of the batch.", job_id=batch_id)

    size = sum(map(len, gathered.results))
    args = (gathered.first, gathered.last, size)
    return _operation("batch_flushed", keys, batch_id, token=token, args=args, decode=decode)


def batch_parts(keys: Keys, batch_id: str) -> Query[list[tuple[int, int]]]:
    """The parts of the batch so far: first and last result of each."""

    def decode(replies: Sequence[Any]) -> list[tuple[int, int]]:
        words = (text(part).partition("-") for part in replies[0])
        return [(int(first), int(last)) for first, _, last in words]

    return Query(commands=(Command("ZRANGE", keys.batch_parts(batch_id), 0, -1),), decode=decode)


def end_batch(
    keys: Keys, batch_id: str, *, token: str, retention: Retention
) -> Operation[BatchStatus | None]:
    """The batch has ended, its output is stored; None: not yet, results have come meanwhile."""

    def decode(raw: Any) -> BatchStatus | None:
        reply = accepted(raw, batch_id, "busy")
        return None if text(reply[0]) == "busy" else BatchStatus(text(reply[1]))

    def after(raw: Any) -> tuple[Command, ...]:
        return after_end(keys, batch_id, raw) if is_ok(raw) else ()

    return replace(
        _operation("batch_end", keys, batch_id, token=token, args=retention.batch_args(), decode=decode),
        after=after,
    )


def batches_due(keys: Keys, *, time: float, limit: int) -> Query[dict[str, int]]:
    """Batches to look at by `time` (of Redis), and the ms for which that was noted."""

    def decode(replies: Sequence[Any]) -> dict[str, int]:
        flat = replies[0]
        return {text(flat[i]): int(float(flat[i + 1])) for i in range(0, len(flat), 2)}

    words = ("ZRANGEBYSCORE", keys.batches, "-inf", milliseconds(time), "WITHSCORES", "LIMIT", 0, limit)
    return Query(commands=(Command(*words),), decode=decode)


def sweep_batch(
    keys: Keys,
    batch_id: str,
    *,
    turn: SweepTurn,
    grace: float,
    workers: Sequence[str],
    noted: int,
    retention: Retention,
) -> Operation[tuple[int | None, int]]:
    """Look at one batch, see `batch_sweep.lua`. Returns the ms at which to look again, None: never; and for
    how many drivers to send. `noted` is the ms for which this look was noted. What a batch has spent is
    counted when it has ended, and it is noted when its objects are to go.
    """

    def decode(raw: Any) -> tuple[int | None, int]:
        if isinstance(raw, Exception):
            raise reply_error(raw)
        match text(raw[0]):
            case "ok":
                return int(raw[1]), int(raw[2])
            case "gone" if noted <= AT_ONCE:  # its opening may still be under way
                return milliseconds(turn.time) + _ORPHAN_MS, 0
        return None, 0

    def after(raw: Any) -> tuple[Command, ...]:
        if text(raw[0]) != "ended":
            return ()
        _, ended, tenant, words = raw
        return (
            after_retention(keys, batch_id, int(ended), retention),
            *uncount(keys, batch_id, batch_id, list_of(text(tenant))),
            *count_batch(
                keys, batch_id, tenant=text(tenant), words=words, ended=int(ended), retention=retention
            ),
        )

    args: tuple[Argument, ...] = (
        *(batch_id, milliseconds(turn.time), milliseconds(turn.stopped), milliseconds(turn.resumed + grace)),
        *workers,
    )
    return Operation(
        script=load("batch_sweep"), keys=(keys.base(batch_id),), args=args, decode=decode, after=after
    )


def settle_batches(keys: Keys, changes: Mapping[str, tuple[int, int | None]]) -> Operation[None]:
    """Put off batches to a time (ms), or drop them (None), unless somebody moved them meanwhile."""

    def decode(raw: Any) -> None:
        if isinstance(raw, Exception):
            raise reply_error(raw)

    args: list[Argument] = []
    for batch_id, (noted, next_look) in changes.items():
        args += [batch_id, noted, "" if next_look is None else next_look]
    return Operation(script=load("settle"), keys=(keys.batches,), args=tuple(args), decode=decode)


def _words(result: LineResult) -> tuple[Argument, ...]:
    cost = "" if result.cost is None else round(result.cost * NANO)
    spent = [word for each in result.spent for field in fields_of(each) for word in field]
    return result.index, result.error, result.tokens, cost, result.line, len(spent), *spent


def _stop(word: bytes | str) -> BatchStop:
    return text(word)  # type: ignore[return-value] # the words are the scripts'


def _operation(
    script: str, keys: Keys, batch_id: str, *, token: str, args: Sequence[Argument], decode: Any
) -> Operation[Any]:
    return Operation(
        script=load(script), keys=(keys.base(batch_id),), args=(batch_id, token, *args), decode=decode
    )
