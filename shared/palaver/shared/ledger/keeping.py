"""Which batches there are, without I/O: noted before anything of one is stored, listed while it goes on."""

from palaver.shared.batches import BatchJob, BatchView
from palaver.shared.ledger import budgets, exchange
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Retention
from palaver.shared.ledger.operations import batch_keeping, batches, reading
from palaver.shared.tenants import PerTenant


def note_batch(keys: Keys, batch: BatchJob, *, retention: Retention, tenants: PerTenant) -> Exchange[None]:
    """Note whose the batch is, and when it is to go. Raises SpendLimitError."""
    if tenants.of(batch.tenant).spend_hard is not None:
        month = yield from budgets.spending(keys, batch.tenant, tenants)
        if month.is_over:
            raise month.error()
    time = yield from exchange.query(reading.time())
    yield from exchange.query(batch_keeping.note_batch(keys, batch, time=time, retention=retention))


def listing(keys: Keys) -> Exchange[list[BatchView]]:
    """The batches that have not ended, the oldest first."""
    ids = yield from exchange.query(batch_keeping.open_batches(keys))
    found = yield from exchange.run_many([batches.batch(keys, batch_id) for batch_id in ids])
    # The registry is a hint: it has some whose opening is under way, and some that have just ended.
    views = [view for view in found if isinstance(view, BatchView) and not view.status.ended]
    return sorted(views, key=lambda view: view.created_at)
