"""The sweep of batches, without I/O: lines of drivers that died, and drivers that are missing."""

from palaver.shared.ledger import exchange
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Retention
from palaver.shared.ledger.operations import batch_driving, reading
from palaver.shared.ledger.replies import Dispatch, SweepTurn


def sweep(
    keys: Keys, turn: SweepTurn, *, retention: Retention, grace: float, silence: float, limit: int
) -> Exchange[list[Dispatch]]:
    """Look at batches that are due. Returns the messages to send: one for each live worker that does not
    drive a batch yet. A worker that was silent for `silence` seconds is dead.
    """
    due = yield from exchange.query(batch_driving.batches_due(keys, time=turn.time, limit=limit))
    if not due:
        return []
    announced = yield from exchange.run(reading.announced(keys.workers))
    workers = [
        worker.name
        for worker in announced
        if turn.time - worker.time <= silence and not worker.data.get("draining")
    ]
    looks = [
        batch_driving.sweep_batch(
            keys, batch_id, turn=turn, grace=grace, workers=workers, noted=noted, retention=retention
        )
        for batch_id, noted in due.items()
    ]
    found = dict(zip(due, (yield from exchange.run_many(looks)), strict=True))
    # One that cannot be looked at now (Redis is full, say) stays as it is.
    seen = {batch_id: answer for batch_id, answer in found.items() if isinstance(answer, tuple)}
    if seen:
        changes = {batch_id: (due[batch_id], next_look) for batch_id, (next_look, _) in seen.items()}
        yield from exchange.run(batch_driving.settle_batches(keys, changes))
    return [Dispatch.batch(batch_id) for batch_id, (_, missing) in seen.items() for _ in range(missing)]
