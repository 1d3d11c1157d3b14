"""Whether there is room for jobs, as a conversation without I/O.

Jobs that have not ended are counted where their number is bounded, in all or of a tenant. A place is taken
before its job is stored, and by nobody twice, so there are never more; a round trip that producers pay only
where there are bounds. It is taken for a minute, and kept when the job is stored: of what was never stored,
for a full Redis or a producer that died, somebody who needs its place then finds that it is not there. A job
that was stored before is known by its entry, or found when it is refused.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from palaver.shared.errors import QueueFullError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import exchange
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Query
from palaver.shared.ledger.operations import admitting
from palaver.shared.ledger.replies import Place
from palaver.shared.names import Queue
from palaver.shared.tenants import PerTenant, Tenants

__all__ = ["UNBOUNDED", "Bounds", "admit"]


@dataclass(slots=True)
class Bounds:
    """How many jobs may not have ended, in all (None: any number) and of each tenant; and what a tenant may
    spend.
    """

    jobs: int | None
    tenants: PerTenant

    def now(self, _keys: Keys) -> Exchange["Bounds"]:
        """These, see `rules.InForce`."""
        yield from ()
        return self

    def bind(self, tenant: str | None) -> bool:
        """Whether there is anything to ask before a job of the tenant is stored."""
        its = self.tenants.of(tenant)
        return its.queued is not None or its.spend_hard is not None or self.jobs is not None

    def queue_of(self, job: ChatJob) -> Queue:
        """The queue in which a job waits for a worker."""
        return self.tenants.of(job.tenant).queue_for(job.priority)

    def of(self, tenant: str | None) -> dict[str, int]:
        """The lists that a job of the tenant needs a place in, with their bounds."""
        bounds = {}
        if (most := self.tenants.of(tenant).queued) is not None:
            bounds[admitting.list_of(tenant)] = most
        if self.jobs is not None:
            bounds[admitting.ALL] = self.jobs
        return bounds


UNBOUNDED: Final = Bounds(None, Tenants({}))


def admit(
    keys: Keys, entries: Sequence[Place], bounds: Sequence[Mapping[str, int]]
) -> Exchange[dict[int, QueueFullError]]:
    """Take places, for each entry in its lists (see `Bounds.of`); which of them, by their places in
    `entries`, got none, and why.
    """
    wanted: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for place, lists in enumerate(bounds):
        for each in lists.items():
            wanted[each].append(place)
    full: dict[int, QueueFullError] = {}
    taken: list[tuple[str, int]] = []
    # The list of all comes last: a job that its tenant has no room for is to keep nobody's place there.
    for (name, most), places in sorted(wanted.items(), key=lambda each: each[0][0] == admitting.ALL):
        for some in _slices([place for place in places if place not in full]):
            asking = [entries[place] for place in some]
            answer = yield from _ask(keys, name, asking, most)
            for place, standing in zip(some, answer.places, strict=True):
                if standing == admitting.REFUSED:
                    full[place] = _full(name, answer, entries[place][1])
                elif standing == admitting.NEW:
                    taken.append((name, place))
    yield from _give_up(keys, [(name, entries[place]) for name, place in taken if place in full])
    return full


def _ask(keys: Keys, name: str, entries: Sequence[Place], most: int) -> Exchange[admitting.Admitted]:
    """Ask for places, again when some were made by looking at what has them for no known reason."""
    answer = yield from exchange.run(admitting.admit(keys, name, entries, most=most))
    places = answer.places
    while answer.lapsed:
        yield from _put_right(keys, name, answer.lapsed)
        without = [n for n, standing in enumerate(places) if standing == admitting.REFUSED]
        again = [entries[n] for n in without]
        answer = yield from exchange.run(admitting.admit(keys, name, again, most=most))
        for n, standing in zip(without, answer.places, strict=True):
            places[n] = standing
    return replace(answer, places=places)


def _put_right(keys: Keys, name: str, lapsed: Sequence[Place]) -> Exchange[None]:
    ends = yield from exchange.query(admitting.until(keys, lapsed))
    commands = [
        admitting.put_right(keys, name, place, until) for place, until in zip(lapsed, ends, strict=True)
    ]
    yield from exchange.query(Query(commands=tuple(commands), decode=lambda _replies: None))


def _slices(places: Sequence[int]) -> Iterator[Sequence[int]]:
    """As many as one script sees to: a fraction of a millisecond, in which Redis does nothing else."""
    for start in range(0, len(places), exchange.BATCH):
        yield places[start : start + exchange.BATCH]


def _give_up(keys: Keys, taken: Sequence[tuple[str, Place]]) -> Exchange[None]:
    """Of what has no place in one list, the place in another one."""
    commands = [admitting.give_up(keys, name, *entry) for name, entry in taken]
    if commands:
        yield from exchange.query(Query(commands=tuple(commands), decode=lambda _replies: None))


def _full(name: str, answer: admitting.Admitted, job_id: str) -> QueueFullError:
    whose = "There are" if name == admitting.ALL else f"The tenant {name[1:]!r} has"
    return QueueFullError(
        f"{whose} {answer.unended} jobs that have not ended, and no more are taken before one has: "
        f"try again in {answer.retry_after:.0f} s.",
        job_id=job_id,
        retry_after=answer.retry_after,
    )
