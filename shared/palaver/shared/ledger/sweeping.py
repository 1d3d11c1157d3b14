"""One sweep as a conversation without I/O: what is due, what the broker may have lost, a look at each."""

from collections.abc import Collection, Mapping, Sequence

from palaver.shared.errors import PalaverError
from palaver.shared.ledger import batches, exchange, pumping
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys, due_member
from palaver.shared.ledger.operation import Command, Query, Retention, milliseconds
from palaver.shared.ledger.operations import reading, sweeping
from palaver.shared.ledger.operations.verdicts import is_past
from palaver.shared.ledger.operations.webhooks import webhook_lines
from palaver.shared.ledger.replies import Due, Looked, Passed, Place, SweepTurn, Swept
from palaver.shared.names import QUEUES, Queue

# Beyond the time between two renewals: for a worker that finds Redis again, to reconnect and renew.
_RECONNECT_SECONDS = 1.0
# Of a lease; a worker that was silent for so long has missed two heartbeats.
_SILENCE = 0.65
# An entry without a job: its submit may still be under way.
_ORPHAN_MS = 60_000
# So long after its job got the turn a message may arrive: who sends it has others to send before.
_SENDING_MS = 1_000

Found = dict[Due, Looked]
Enlisted = tuple[str, Place]
"""A broker queue, and a job whose message waited there."""


def sweep(
    keys: Keys,
    turn: SweepTurn,
    *,
    retention: Retention,
    lease: float,
    renew: float,
    empty_queues: Collection[str] = (),
    limit: int,
) -> Exchange[Swept]:
    """Look at what is due, and at jobs whose message has left its queue without a claim, and hand out what
    time has made free at the gates, and send for drivers of batches.

    `empty_queues` are broker queues that held no message at some time since the turn was taken. A worker
    that has not announced itself for two thirds of a `lease` counts as dead: heartbeats are more frequent
    than that. Workers renew every `renew` seconds.
    """
    if turn.behind:
        yield from _set_back(keys, turn.behind)
    passed = yield from _passed(keys, turn, empty_queues)
    due = yield from exchange.query(sweeping.due(keys, time=turn.time, limit=limit))
    overtaken = yield from exchange.query(sweeping.overtaken(keys, passed, limit=limit))
    entries = list(dict.fromkeys([*due, *(yield from _watched(keys, overtaken))]))
    look = _Look(keys, retention, turn, renew + _RECONNECT_SECONDS, passed)
    found = yield from look.at(entries)
    freed = yield from _second_looks(look, keys, found, turn, lease * _SILENCE)
    found |= freed
    yield from _enlist(keys, found)
    yield from _settle(keys, turn, found, retention)
    yield from _delist(keys, overtaken, entries, found)
    dispatches = [looked.dispatch for looked in found.values() if looked.dispatch is not None]
    dispatches += yield from pumping.pump(keys, time=turn.time, limit=limit)
    grace, silence = renew + _RECONNECT_SECONDS, lease * _SILENCE
    drivers = yield from batches.sweep(
        keys, turn, retention=retention, grace=grace, silence=silence, limit=limit
    )
    return Swept(
        dispatches=[*dict.fromkeys(dispatches), *drivers],
        looked=len(found),
        ended=sum(looked.outcome == "ended" for looked in found.values()),
        freed=sum(looked.dispatch is not None for looked in freed.values()),
        full=max(len(due), len(overtaken)) >= limit,
    )


def _set_back(keys: Keys, seconds: float) -> Exchange[None]:
    """After a failover, say, it is another machine's: nothing is to wait until the old time comes again."""
    webhooks = yield from exchange.query(webhook_lines(keys))
    for registry in (keys.due, keys.gates, keys.batches, *webhooks, *map(keys.sent, QUEUES)):
        yield from exchange.run(sweeping.shift(registry, seconds))
    yield from exchange.query(sweeping.shifted(keys))


def _passed(keys: Keys, turn: SweepTurn, empty_queues: Collection[str]) -> Exchange[dict[str, Passed]]:
    """How far the broker's queues are, by what workers were delivered, and by which queues are empty."""
    now = milliseconds(turn.time)
    if empty_queues:
        # Hints: a full Redis refuses them.
        yield [is_past(keys, queue, now).words for queue in empty_queues]
    known = yield from exchange.query(sweeping.how_far(keys))
    known |= dict.fromkeys(empty_queues, now)
    return {
        queue: Passed(before=time - _SENDING_MS, resend_to=_resend_to(queue, empty_queues))
        for queue, time in known.items()
        if time <= now  # a later one is of a clock that was set back
    }


def _resend_to(queue: str, empty_queues: Collection[str]) -> str:
    """Who was overtaken goes first now; but when all were lost, they do not go before what was taken over."""
    return Queue.RESUME.value if queue not in empty_queues and Queue.RESUME in empty_queues else queue


def _watched(keys: Keys, overtaken: Sequence[Enlisted]) -> Exchange[list[Due]]:
    """Those of the jobs that have not ended."""
    if not overtaken:
        return []
    return (yield from exchange.query(sweeping.due_of(keys, [place for _, place in overtaken])))


class _Look:
    """The look of one sweep, with what is the same for all its jobs."""

    def __init__(
        self, keys: Keys, retention: Retention, turn: SweepTurn, grace: float, passed: Mapping[str, Passed]
    ) -> None:
        self._keys, self._retention, self._turn, self._grace = keys, retention, turn, grace
        self._passed = passed

    def at(self, entries: Sequence[Due], *, worker: sweeping.Verdict = "") -> Exchange[Found]:
        """A job that cannot be looked at now (Redis is full, say) stays as it is."""
        looks = [
            sweeping.look(
                self._keys,
                entry.session_id,
                entry.job_id,
                retention=self._retention,
                turn=self._turn,
                grace=self._grace,
                worker=worker,
                passed=self._passed,
            )
            for entry in entries
        ]
        results = yield from exchange.run_many(looks)
        return {
            entry: result
            for entry, result in zip(entries, results, strict=True)
            if not isinstance(result, PalaverError)
        }


def _second_looks(look: _Look, keys: Keys, found: Found, turn: SweepTurn, silence: float) -> Exchange[Found]:
    """At the expired leases, knowing now whether their workers are alive."""
    unsure = {entry: looked.detail for entry, looked in found.items() if looked.outcome == "unsure"}
    if not unsure:
        return {}
    announced = yield from exchange.run(reading.announced(keys.workers))
    live = {worker.name for worker in announced if turn.time - worker.time <= silence}
    alive = yield from look.at([entry for entry, worker in unsure.items() if worker in live], worker="alive")
    dead = yield from look.at(
        [entry for entry, worker in unsure.items() if worker not in live], worker="dead"
    )
    return alive | dead


def _enlist(keys: Keys, found: Found) -> Exchange[None]:
    """Jobs whose message waits in a queue are looked at when the queue has passed it."""
    waiting: dict[str, dict[Due, int]] = {}
    for entry, looked in found.items():
        if looked.outcome == "queued":
            waiting.setdefault(looked.queue, {})[entry] = looked.sent
    for queue, entries in waiting.items():
        yield from exchange.run(sweeping.enlist(keys, queue, entries))


def _delist(
    keys: Keys, overtaken: Sequence[Enlisted], entries: Sequence[Due], found: Found
) -> Exchange[None]:
    """Those that were overtaken are enlisted no more, unless they wait again or could not be looked at."""
    kept = {("", entry.place) for entry in entries if entry not in found}
    kept |= {(looked.queue, entry.place) for entry, looked in found.items() if looked.queue}
    forgotten = [
        Command("ZREM", keys.sent(queue), due_member(*place))
        for queue, place in overtaken
        if not {("", place), (queue, place)} & kept
    ]
    if forgotten:
        yield from exchange.query(_carried_out(forgotten))


def _settle(keys: Keys, turn: SweepTurn, found: Found, retention: Retention) -> Exchange[None]:
    changes: list[tuple[Due, int | None]] = []
    indexes: list[Command] = []
    for entry, looked in found.items():
        if looked.outcome in ("ok", "queued"):
            changes.append((entry, looked.next_look))
        elif looked.outcome == "ended":
            changes.append((entry, None))
            indexes.append(Command("PEXPIRE", keys.index(entry.job_id), milliseconds(retention.job)))
        elif looked.outcome == "gone" and turn.time * 1000 - entry.score > _ORPHAN_MS:
            changes.append((entry, None))
            indexes.append(Command("DEL", keys.index(entry.job_id)))
    if changes:
        yield from exchange.run(sweeping.settle(keys, changes))
    if indexes:
        yield from exchange.query(_carried_out(indexes))


def _carried_out(commands: Sequence[Command]) -> Query[None]:
    return Query(commands=tuple(commands), decode=lambda _replies: None)
