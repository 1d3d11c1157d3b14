"""Looking at jobs as conversations without I/O. Whoever sees one past its deadline ends it, so that it ends
with no worker alive too.
"""

from dataclasses import replace

from palaver.shared.errors import JobGoneError, JobNotFoundError
from palaver.shared.ledger import exchange
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Retention
from palaver.shared.ledger.operations import ending, gating, reading, readying, sweeping
from palaver.shared.ledger.replies import Dispatch, Expired, Inspected, Place
from palaver.shared.ledger.views import JobView, Prospect

MOST = 10_000
"""Jobs that one look at the whole ledger asks about: a fraction of a second."""


def view(
    keys: Keys, job_id: str, session_id: str | None = None, *, document: bool = False
) -> Exchange[JobView]:
    """The job as it is, and nothing changes. Raises JobNotFoundError."""
    session_id = session_id or (yield from exchange.query(reading.find(keys, job_id)))
    if session_id is not None:
        moment = yield from exchange.run(reading.snapshot(keys, session_id, [job_id], documents=document))
        if job_id in moment.jobs:
            return (yield from _with_prospect(keys, moment.jobs[job_id]))
    raise JobNotFoundError(f"There is no job {job_id}.", job_id=job_id)


def _with_prospect(keys: Keys, seen: JobView) -> Exchange[JobView]:
    place = (seen.session_id, seen.job_id)
    if seen.gate is not None:
        prospect = yield from exchange.run(gating.where_at_gate(keys, seen.gate, place))
    elif seen.ready:
        prospect = yield from _in_queue(keys, seen, place)
    else:
        return seen
    return replace(seen, prospect=prospect)


def _in_queue(keys: Keys, seen: JobView, place: Place) -> Exchange[Prospect]:
    """Of a job whose message waits: it begins by that, or when it is its tenant's turn."""
    queue, sent = seen.queue or "", seen.sent or 0.0
    before = yield from exchange.query(sweeping.before_in_queue(keys, queue, place, sent))
    standing = yield from exchange.run(readying.where_ready(keys, place))
    known = [ahead for ahead in (before, standing.ahead) if ahead is not None]
    position = min(known, default=0)
    seconds = (position + 1) / standing.a_second if standing.a_second else None
    return Prospect(position, seconds)


def inspect(
    keys: Keys, job_id: str, session_id: str | None = None, *, document: bool = False, retention: Retention
) -> Exchange[Inspected]:
    """The job as it is, ended if it is past its deadline and no worker holds it. Raises JobNotFoundError."""
    seen = yield from view(keys, job_id, session_id, document=document)
    if not seen.overdue:
        return Inspected(view=seen, dispatch=None)
    try:
        expired = yield from exchange.run(ending.expire(keys, seen.session_id, job_id, retention=retention))
    except JobGoneError:
        raise JobNotFoundError(f"There is no job {job_id}.", job_id=job_id) from None
    seen = yield from view(keys, job_id, seen.session_id, document=document)
    return Inspected(view=seen, dispatch=expired.dispatch)


def expire_all(keys: Keys, *, retention: Retention) -> Exchange[list[Dispatch]]:
    """End the jobs past their deadline among those that a sweeper should have looked at by now.

    With workers alive there are next to none of these. Returns who has the turn by it.
    """
    time = yield from exchange.query(reading.time())
    due = yield from exchange.query(sweeping.due(keys, time=time, limit=MOST))
    results = yield from exchange.run_many(
        [ending.expire(keys, entry.session_id, entry.job_id, retention=retention) for entry in due]
    )
    return [each.dispatch for each in results if isinstance(each, Expired) and each.dispatch is not None]
