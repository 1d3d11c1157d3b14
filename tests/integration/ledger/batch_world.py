"""A batch in a ledger, and short words for what its drivers do."""

from collections.abc import Sequence
from typing import Any

from palaver.shared.batches import BatchJob, new_batch_id
from palaver.shared.ledger import BatchStop, ClaimedLines, Gathered, LineResult, NotedResults, operations
from palaver.shared.ledger.batch_replies import OpenedBatch
from palaver.shared.spending import Spent
from tests.integration.ledger.world import LEASE, World


class BatchWorld:
    """One batch of `total` lines. Drivers are named by their tokens; what each of them holds is in `held`."""

    def __init__(self, world: World, total: int = 10, **fields: Any) -> None:
        self.world = world
        self.keys = world.keys
        self.job = BatchJob(batch_id=new_batch_id(None, None), input="0" * 64, total=total, **fields)
        self.id = self.job.batch_id
        self.held: dict[str, list[int]] = {}
        self._tickets: dict[str, int] = {}
        world.ledger.note_batch(self.job)
        self.opened: OpenedBatch = world.ledger.open_batch(self.job)

    def try_claim(self, driver: str = "d1", room: int = 3, *, window: int = 100, lease: float = LEASE) -> Any:
        self._tickets[driver] = self._tickets.get(driver, 0) + 1
        return self.claim_again(driver, room, window=window, lease=lease)

    def claim_again(
        self, driver: str = "d1", room: int = 3, *, window: int = 100, lease: float = LEASE
    ) -> ClaimedLines:
        """The call that `claim` made last, once more."""
        return self.world.ledger.run(
            operations.claim_lines(
                self.keys,
                self.id,
                token=driver,
                ticket=self._tickets[driver],
                worker=f"worker of {driver}",
                lease=lease,
                room=room,
                window=window,
            )
        )

    def claim(self, driver: str = "d1", room: int = 3, **options: Any) -> list[int]:
        lines = list(self.try_claim(driver, room, **options).lines)
        self.held.setdefault(driver, []).extend(lines)
        return lines

    def note(
        self, driver: str, *indexes: int, error: bytes = b"", spent: Sequence[Spent] = ()
    ) -> NotedResults:
        """`spent` by each of them."""
        told: dict[str, Any] = {"error": error, "tokens": 2, "cost": 0.5, "spent": spent}
        results = [LineResult(index=index, line=b"result %d\n" % index, **told) for index in indexes]
        noting = operations.note_results(
            self.keys, self.id, token=driver, results=results, retention=self.world.ledger.retention
        )
        return self.world.ledger.run(noting)

    def renew(self, driver: str = "d1", lease: float = LEASE) -> BatchStop:
        return self.world.ledger.run(operations.renew_driver(self.keys, self.id, token=driver, lease=lease))

    def leave(self, driver: str = "d1") -> None:
        self.world.ledger.run(operations.leave_batch(self.keys, self.id, token=driver))

    def gather(self, driver: str = "d1", most: int = 1000) -> Gathered | None:
        gathering = operations.gather_results(
            self.keys, self.id, token=driver, most=most, most_bytes=1_000_000
        )
        return self.world.ledger.run(gathering)

    def flush(self, gathered: Gathered | None, driver: str = "d1") -> None:
        assert gathered is not None
        self.world.ledger.run(operations.flush_results(self.keys, self.id, token=driver, gathered=gathered))

    def end(self, driver: str = "d1") -> Any:
        retention = self.world.ledger.retention
        return self.world.ledger.run(
            operations.end_batch(self.keys, self.id, token=driver, retention=retention)
        )

    def view(self) -> Any:
        return self.world.ledger.batch(self.id)

    def expire_lease(self, driver: str, at: int = 1) -> None:
        self.world.raw.zadd(f"{self.keys.base(self.id)}:batch:leases", {driver: at})

    def pass_the_window(self) -> None:
        self.world.raw.hset(f"{self.keys.base(self.id)}:batch", "expires", 1)

    def sweep(self) -> int:
        """One sweep that looks at the batch; how many drivers it sends for."""
        self.world.raw.zadd(self.keys.batches, {self.id: 1}, xx=True)
        return len(self.world.sweep().dispatches)

    def events(self) -> list[dict[str, Any]]:
        return self.world.events(self.id)
