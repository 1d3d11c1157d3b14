"""Reading the dead letters as a conversation without I/O."""

from palaver.shared.ledger import exchange
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operations import dead
from palaver.shared.ledger.views import DeadLetter

PAGE = 500


def listing(keys: Keys, *, limit: int | None = None) -> Exchange[list[DeadLetter]]:
    """At most `limit` dead letters, the latest end first. Drops entries whose job is gone."""
    # By job: an entry that comes meanwhile moves the others to the next page.
    found: dict[str, DeadLetter] = {}
    start = 0
    while limit is None or len(found) < limit:
        count = PAGE if limit is None else min(PAGE, limit - len(found))
        entries = yield from exchange.query(dead.page(keys, start=start, count=count))
        if not entries:
            break
        letters = yield from exchange.query(dead.letters(keys, entries))
        gone = [entry for entry, letter in zip(entries, letters, strict=True) if letter is None]
        if gone:
            yield from exchange.query(dead.forget(keys, gone))
        found.update((letter.job_id, letter) for letter in letters if letter is not None)
        start += len(entries) - len(gone)
    return list(found.values())
