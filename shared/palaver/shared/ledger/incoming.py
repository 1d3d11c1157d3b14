"""Jobs coming in, as a conversation without I/O.

A job id is in one session only. One that was made with its job is nobody else's, and the job is stored in
one go. One that came from elsewhere may be that of a job in another session, which only the index knows, in
a slot of its own: so it is reserved there first, and refused if it is another session's.
"""

from collections.abc import Sequence

from palaver.shared.errors import ConflictError, PalaverError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import budgets, exchange
from palaver.shared.ledger.admission import UNBOUNDED, Bounds, admit
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Operation, Retention
from palaver.shared.ledger.operations import submitting
from palaver.shared.ledger.operations.admitting import list_of
from palaver.shared.ledger.replies import Submitted
from palaver.shared.ledger.rules import InForce


def submit(
    keys: Keys, job: ChatJob, *, retention: Retention, in_force: InForce = UNBOUNDED
) -> Exchange[Submitted]:
    """Store a job; raises what `operations.submit` does."""
    bounds = yield from in_force.now(keys)
    for conflict in (yield from _conflicts(keys, [job])).values():
        raise conflict
    if bounds.bind(job.tenant):
        (storing,) = yield from _storing(keys, [job], retention, bounds)
    else:
        storing = submitting.submit(keys, job, retention=retention, queue=bounds.queue_of(job))
    return (yield from exchange.run(storing))


def submit_many(
    keys: Keys, jobs: Sequence[ChatJob], *, retention: Retention, in_force: InForce = UNBOUNDED
) -> Exchange[list[Submitted | PalaverError]]:
    """Store many jobs in few round trips; an error is that job's result."""
    bounds = yield from in_force.now(keys)
    refused: dict[int, PalaverError] = dict((yield from _conflicts(keys, jobs)))
    others = [job for place, job in enumerate(jobs) if place not in refused]
    storing = yield from _storing(keys, others, retention, bounds)
    results = iter((yield from exchange.run_many(storing)))
    return [refused[place] if place in refused else next(results) for place in range(len(jobs))]


def _storing(
    keys: Keys, jobs: Sequence[ChatJob], retention: Retention, bounds: Bounds
) -> Exchange[list[Operation[Submitted]]]:
    """Of each job the operation that stores it; where it may not be, the one that finds it stored."""
    refused: dict[int, PalaverError] = {}
    bounded: list[dict[str, int]] = [{}] * len(jobs)
    if any(bounds.bind(job.tenant) for job in jobs):
        refused |= yield from budgets.check(keys, jobs, bounds.tenants)
        bounded = [{} if place in refused else bounds.of(job.tenant) for place, job in enumerate(jobs)]
        entries = [(submitting.session_of(job), job.job_id) for job in jobs]
        refused |= yield from admit(keys, entries, bounded)
    return [
        submitting.repeat(keys, job, retention=retention, refusal=refused[place])
        if place in refused
        else submitting.submit(
            keys,
            job,
            retention=retention,
            queue=bounds.queue_of(job),
            counts=list_of(job.tenant) if most else "",
        )
        for place, (job, most) in enumerate(zip(jobs, bounded, strict=True))
    ]


def _conflicts(keys: Keys, jobs: Sequence[ChatJob]) -> Exchange[dict[int, ConflictError]]:
    """Which of the jobs, by their places, have the id of a job in another session."""
    given = [place for place, job in enumerate(jobs) if "job_id" in job.model_fields_set]
    conflicts: dict[int, ConflictError] = {}
    for start in range(0, len(given), exchange.BATCH):
        places = given[start : start + exchange.BATCH]
        wanted = [jobs[place] for place in places]
        reserved = yield from exchange.query(submitting.reserve(keys, wanted))
        for place, job, is_ours in zip(places, wanted, reserved, strict=True):
            if not is_ours:
                conflicts[place] = ConflictError(
                    f"There is a job {job.job_id} in another session.", job_id=job.job_id, param="job_id"
                )
    return conflicts
