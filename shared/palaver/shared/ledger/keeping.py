"""What is noted of a batch before anything of it is stored, as a conversation without I/O."""

from palaver.shared.batches import BatchJob
from palaver.shared.ledger import exchange
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Retention
from palaver.shared.ledger.operations import batch_keeping, reading


def note_batch(keys: Keys, batch: BatchJob, *, retention: Retention) -> Exchange[None]:
    """Note whose the batch is, and when it is to go."""
    time = yield from exchange.query(reading.time())
    yield from exchange.query(batch_keeping.note_batch(keys, batch, time=time, retention=retention))
