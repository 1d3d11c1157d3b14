"""Jobs of tenants and users that wait for a worker, and short words for what is done about them."""

from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Submitted, operations
from palaver.shared.names import Queue, queue_for
from tests.integration.ledger.world import World


class Floor:
    """Jobs by names like `a1`, of the tenant `a`, or `ax1`, of its user `x`; and `-1`, which names nobody."""

    def __init__(self, world: World) -> None:
        self.world, self.keys = world, world.keys
        self.weights: dict[str, int] = {}
        self.jobs: dict[str, tuple[ChatJob, Submitted]] = {}
        self._calls = 0

    def submit(self, *names: str, **fields: object) -> None:
        for name in names:
            tenant, user = name[0].strip("-") or None, name[1:].strip("0123456789") or None
            job = ChatJob(messages="hi", session_id=f"s-{name}", tenant=tenant, user=user, **fields)
            self.jobs[name] = job, self.world.ledger.submit(job)

    def begin(self, *names: str, waiting: bool = True, token: str = "", first: bool = True) -> list[str]:
        """A worker begins these; the names of those that are to be sent by that."""
        self._calls += 1
        starts = []
        for name in names:
            job, stored = self.jobs[name]
            weight = self.weights.get(name[0], 1)
            place = (stored.session_id, stored.job_id)
            queue = queue_for(job.priority)
            starts.append(operations.Start(place=place, job=job, queue=queue, weight=weight, first=first))
        noting = operations.note_begun(
            self.keys, starts, worker="w", token=token or f"t{self._calls}", are_waiting=waiting
        )
        sent = self.world.ledger.run(noting).dispatches
        assert {dispatch.queue for dispatch in sent} <= {Queue.RESUME}
        return [dispatch.session_id.removeprefix("s-") for dispatch in sent]

    def in_turn(self, *names: str) -> list[str]:
        """All that are begun when these messages come, one after the other, and what they have sent."""
        begun: list[str] = []
        for name in names:
            if name not in begun:
                sent = self.begin(name)
                begun.append(name)
                for other in sent:
                    assert self.begin(other) == [], "who was sent has had its turn"
                    begun.append(other)
        return begun

    def ahead(self, name: str) -> int | None:
        _, stored = self.jobs[name]
        place = (stored.session_id, stored.job_id)
        return self.world.ledger.run(operations.where_ready(self.keys, place)).ahead

    def waiting(self) -> int:
        found: int = self.world.raw.zcard(f"{self.keys.ready}:palaver.normal")
        return found
