"""Which batches there are, without I/O: noted before anything of one is stored, listed while it goes on."""

from typing import Final

from palaver.shared.batches import BatchJob, BatchView
from palaver.shared.ledger import budgets, exchange
from palaver.shared.ledger.admission import UNBOUNDED, admit
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Query, Retention
from palaver.shared.ledger.operations import admitting, batch_keeping, batches, reading
from palaver.shared.ledger.rules import InForce

STORING_SECONDS: Final = 3600.0
"""In this time the lines of a batch are stored; one that is not opened by then counts no more."""


def note_batch(
    keys: Keys, batch: BatchJob, *, retention: Retention, in_force: InForce = UNBOUNDED
) -> Exchange[None]:
    """Note whose the batch is, and when it is to go. It counts as one job of its tenant, until it ends.
    Raises QueueFullError, SpendLimitError.
    """
    bounds = yield from in_force.now(keys)
    if bounds.tenants.of(batch.tenant).spend_hard is not None:
        month = yield from budgets.spending(keys, batch.tenant, bounds.tenants)
        if month.is_over:
            raise month.error()
    lists = bounds.of(batch.tenant)
    if lists:
        for full in (yield from admit(keys, [(batch.batch_id, batch.batch_id)], [lists])).values():
            raise full
    time = yield from exchange.query(reading.time())
    yield from exchange.query(batch_keeping.note_batch(keys, batch, time=time, retention=retention))
    if lists:
        counted = batches.keep_batch_counted(keys, batch, ends=time + STORING_SECONDS)
        yield from exchange.query(Query(commands=counted, decode=lambda _replies: None))


def abandon_batch(keys: Keys, batch: BatchJob) -> Exchange[None]:
    """The lines of a batch that was noted could not be stored: it counts no more."""
    forget = admitting.uncount(keys, batch.batch_id, batch.batch_id, admitting.list_of(batch.tenant))
    yield from exchange.query(Query(commands=forget, decode=lambda _replies: None))


def listing(keys: Keys) -> Exchange[list[BatchView]]:
    """The batches that have not ended, the oldest first."""
    ids = yield from exchange.query(batch_keeping.open_batches(keys))
    found = yield from exchange.run_many([batches.batch(keys, batch_id) for batch_id in ids])
    # The registry is a hint: it has some whose opening is under way, and some that have just ended.
    views = [view for view in found if isinstance(view, BatchView) and not view.status.ended]
    return sorted(views, key=lambda view: view.created_at)
