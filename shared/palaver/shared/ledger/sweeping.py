"""One sweep as a conversation without I/O: whose turn it is, what is due, a look at each, what to send."""

from collections.abc import Collection, Sequence

from palaver.shared.errors import PalaverError
from palaver.shared.ledger import exchange
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Command, Query, Retention, milliseconds
from palaver.shared.ledger.operations import reading, sweeping
from palaver.shared.ledger.replies import Due, Looked, SweepTurn, Swept

# Beyond the time between two renewals: for a worker that finds Redis again, to reconnect and renew.
_RECONNECT_SECONDS = 1.0
# Of a lease; a worker that was silent for so long has missed two heartbeats.
_SILENCE = 0.65
# An entry without a job: its submit may still be under way.
_ORPHAN_MS = 60_000


def sweep(
    keys: Keys,
    *,
    retention: Retention,
    lease: float,
    renew: float,
    period: float = 1.0,
    empty_queues: Collection[str] = (),
    more: bool = False,
    limit: int = 1_000,
) -> Exchange[Swept]:
    """Look at what is due, unless another process swept less than `period` seconds ago.

    `empty_queues` are broker queues without a message: what nobody claimed from them is sent again at once.
    `more` goes on with a sweep that was `full`. A worker that has not announced itself for two thirds of a
    `lease` counts as dead: heartbeats are more frequent than that. Workers renew every `renew` seconds.
    """
    turn = yield from exchange.run(sweeping.take_turn(keys, period=period, again=more))
    if turn is None:
        return Swept(dispatches=[])
    entries = yield from exchange.query(sweeping.due(keys, time=turn.time, limit=limit))
    if not entries:
        return Swept(dispatches=[])
    look = _Look(keys, retention, turn, renew + _RECONNECT_SECONDS, tuple(empty_queues))
    found = yield from look.at(entries)
    unsure = {entry: looked.detail for entry, looked in found.items() if looked.outcome == "unsure"}
    if unsure:
        live = yield from _live_workers(keys, turn, lease * _SILENCE)
        alive = [entry for entry, worker in unsure.items() if worker in live]
        dead = [entry for entry, worker in unsure.items() if worker not in live]
        found.update((yield from look.at(alive, worker="alive")))
        found.update((yield from look.at(dead, worker="dead")))
    yield from _settle(keys, turn, found, retention)
    dispatches = [looked.dispatch for looked in found.values() if looked.dispatch is not None]
    return Swept(
        dispatches=list(dict.fromkeys(dispatches)),
        looked=len(found),
        ended=sum(looked.outcome == "ended" for looked in found.values()),
        full=len(entries) == limit,
    )


class _Look:
    """The look of one sweep, with what is the same for all its jobs."""

    def __init__(
        self, keys: Keys, retention: Retention, turn: SweepTurn, grace: float, empty_queues: tuple[str, ...]
    ) -> None:
        self._keys, self._retention, self._turn, self._grace = keys, retention, turn, grace
        self._empty_queues = empty_queues

    def at(self, entries: Sequence[Due], *, worker: sweeping.Verdict = "") -> Exchange[dict[Due, Looked]]:
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
                empty_queues=self._empty_queues,
            )
            for entry in entries
        ]
        results = yield from exchange.run_many(looks)
        return {
            entry: result
            for entry, result in zip(entries, results, strict=True)
            if not isinstance(result, PalaverError)
        }


def _live_workers(keys: Keys, turn: SweepTurn, silence: float) -> Exchange[set[str]]:
    announced = yield from exchange.run(reading.announced(keys.workers))
    return {worker.name for worker in announced if turn.time - worker.time <= silence}


def _settle(keys: Keys, turn: SweepTurn, found: dict[Due, Looked], retention: Retention) -> Exchange[None]:
    changes: list[tuple[Due, int | None]] = []
    indexes: list[Command] = []
    for entry, looked in found.items():
        if looked.outcome == "ok":
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
        yield from exchange.query(Query(commands=tuple(indexes), decode=lambda _replies: None))
