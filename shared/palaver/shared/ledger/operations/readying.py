"""The jobs that wait for a worker, by tenant and user: whose turn it is where a queue is long."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from palaver.shared.jobs import ChatJob
from palaver.shared.ledger.keys import Keys, due_member, parse_due_member
from palaver.shared.ledger.operation import Argument, Command, Operation, reply_error, text
from palaver.shared.ledger.operations.gating import digest_of
from palaver.shared.ledger.replies import Begun, Dispatch, Place, Standing
from palaver.shared.ledger.scripts import load
from palaver.shared.names import Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A job that a worker has begun."""

    place: Place
    job: ChatJob
    queue: Queue  # where a job of its priority waits
    weight: int = 1  # of its tenant
    first: bool = True  # False: it goes on, which is no turn of anybody


def takes_turns(job: ChatJob) -> bool:
    """Whether a job stands in a line; one that names neither tenant nor user waits for its message alone."""
    return job.tenant is not None or job.user is not None


def wait_for_worker(keys: Keys, session_id: str, job: ChatJob, queue: Queue) -> tuple[Command, ...]:
    """Before a job is stored that may begin at once: it has its place in its user's line."""
    if not takes_turns(job) or job.run_at:
        return ()
    member = due_member(session_id, job.job_id)
    return (Command.call(load("ready_enter"), keys.ready, member, *_line(job, queue)),)


def wait_no_more(keys: Keys, session_id: str, job_id: str) -> Command:
    """A job was refused, or has ended, or goes on with what it had begun."""
    return Command.call(load("ready_leave"), keys.ready, due_member(session_id, job_id))


def _line(job: ChatJob, queue: Queue) -> tuple[str, str, str]:
    return queue.value, digest_of(job.user or ""), job.tenant or ""


def note_begun(
    keys: Keys, starts: Sequence[Start], *, worker: str, token: str, are_waiting: bool
) -> Operation[Begun]:
    """A worker has begun these jobs, of which it tells once: the same token again gives the same reply. If
    jobs `are_waiting` in its queues, the reply names those whose turn was before the one that these have had.

    A worker waits for the reply before its next call.
    """

    def decode(raw: Any) -> Begun:
        if isinstance(raw, Exception):
            raise reply_error(raw)
        places = (parse_due_member(entry) for entry in raw[2])
        return Begun(
            waiting=int(raw[1]), dispatches=[Dispatch(*place, Queue.RESUME.value) for place in places]
        )

    words: list[Argument] = [worker, token, int(are_waiting)]
    for start in starts:
        words += [due_member(*start.place), *_line(start.job, start.queue), start.weight, int(start.first)]
    return Operation(script=load("ready_begun"), keys=(keys.ready,), args=tuple(words), decode=decode)


def where_ready(keys: Keys, place: Place) -> Operation[Standing]:
    """Where a job stands that waits for a worker."""

    def decode(raw: Any) -> Standing:
        if isinstance(raw, Exception):
            raise reply_error(raw)
        ahead = int(raw[1]) if text(raw[0]) == "wait" else None
        return Standing(ahead=ahead, a_second=int(raw[2]) / 3600)

    return Operation(
        script=load("ready_where"), keys=(keys.ready,), args=(due_member(*place),), decode=decode
    )
