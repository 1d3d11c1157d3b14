"""How many jobs have not ended, in all and of a tenant, where that is bounded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from palaver.shared.ledger.keys import Keys, due_member
from palaver.shared.ledger.operation import Argument, Command, Operation, milliseconds
from palaver.shared.ledger.operations.reading import checked
from palaver.shared.ledger.scripts import load

ALL: Final = "all"
"""The name of the list of all jobs; that of a tenant's is `list_of`."""

NEW, KNOWN, REFUSED = 2, 1, 0


@dataclass(frozen=True, slots=True)
class Admitted:
    """What became of entries that asked for places: `NEW`, `KNOWN` or `REFUSED` each; how many jobs have not
    ended, and in about how many seconds one will have.
    """

    places: list[int]
    unended: int
    retry_after: float


class Entry(NamedTuple):
    """A job, or a batch, that asks for a place. It ends so many seconds after `run_at`, Unix time, or now."""

    session_id: str
    job_id: str
    deadline: float
    run_at: float | None = None


def list_of(tenant: str | None) -> str:
    """The name of a tenant's list, or of the one of jobs that name none."""
    return f"={tenant or ''}"


def admit(keys: Keys, name: str, entries: Sequence[Entry], *, most: int) -> Operation[Admitted]:
    """Ask for places in a list."""

    def decode(raw: Any) -> Admitted:
        _, unended, wait, *places = checked(raw)
        return Admitted([int(place) for place in places], int(unended), int(wait) / 1000)

    args: list[Argument] = [most]
    for session_id, job_id, deadline, run_at in entries:
        begins = milliseconds(run_at) if run_at else 0
        args += [due_member(session_id, job_id), begins, milliseconds(deadline)]
    return Operation(script=load("admit"), keys=(keys.unended(name),), args=tuple(args), decode=decode)


def give_up(keys: Keys, name: str, session_id: str, job_id: str) -> Command:
    """A job has no place in a list any more."""
    return Command("ZREM", keys.unended(name), due_member(session_id, job_id))


def uncount(keys: Keys, session_id: str, job_id: str, name: bytes | str) -> tuple[Command, ...]:
    """After the end of a job that its hash says to count in the list of this name, if any."""
    if not name:
        return ()
    names = (ALL, name if isinstance(name, str) else name.decode())
    return tuple(give_up(keys, each, session_id, job_id) for each in names)
