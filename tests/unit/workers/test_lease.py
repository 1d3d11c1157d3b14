"""What is counted of renewals."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from palaver.shared.errors import FencedError, JobEndedError, JobGoneError, LedgerFullError, PalaverError
from palaver.workers.lease import AT_ONCE, Held, Lease, LeaseKeeper
from palaver.workers.link import Link
from palaver.workers.metrics import Counts

LEASE = 10.0


@dataclass
class Desk:
    """A keeper whose link answers as a test wants, after what happens `meanwhile`."""

    answers: Sequence[Any]
    meanwhile: Callable[[], object] = lambda: None
    now: float = 0.0
    counts: Counts = field(default_factory=Counts)

    async def run_all(self, _: Sequence[Any]) -> Sequence[Any]:
        self.meanwhile()
        return self.answers

    def renewal(self, _: float) -> None:
        """A lease's."""

    def settle(self, *_: object) -> None:
        """A lease's."""

    def held(self) -> tuple[LeaseKeeper, Held]:
        keeper = LeaseKeeper(
            cast("Link", self),
            lease_seconds=LEASE,
            renew_seconds=3.0,
            counts=self.counts,
            clock=lambda: self.now,
        )
        return keeper, keeper.hold(cast("Lease", self))

    def counted(self) -> dict[str, float]:
        (samples,) = (found for metric, found in self.counts.families() if "renewals" in metric.name)
        return {labels[0]: float(value) for labels, value in samples if isinstance(value, int | float)}


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        ("renewed", {"renewed": 1.0}),
        (FencedError(), {"lost": 1.0}),
        (JobGoneError(), {"lost": 1.0}),
        (JobEndedError(), {}),
        (LedgerFullError(), {"failed": 1.0}),
    ],
    ids=["renewed", "fenced", "gone", "ended", "full"],
)
async def test_a_lease_is_lost_when_it_is_another_s(
    answer: str | PalaverError, counted: dict[str, float]
) -> None:
    desk = Desk([answer])
    keeper, held = desk.held()
    with held:
        await keeper.renew()
    assert desk.counted() == counted


async def test_what_its_own_worker_gives_up_while_the_renewal_is_on_its_way_is_not_lost() -> None:
    desk = Desk([FencedError()])
    keeper, held = desk.held()
    desk.meanwhile = held.ends
    with held:
        await keeper.renew()
    assert desk.counted() == {}


async def test_a_renewal_that_comes_when_the_lease_had_run_out_is_late() -> None:
    desk = Desk(["renewed"])
    desk.meanwhile = lambda: setattr(desk, "now", LEASE)
    keeper, held = desk.held()
    with held:
        await keeper.renew()
    assert desk.counted() == {"late": 1.0}
    assert keeper.unconfirmed == LEASE - 3.0


async def test_leases_that_end_while_others_are_renewed_are_not_asked_for() -> None:
    desk = Desk([])
    asked: list[int] = []
    with ExitStack() as first, ExitStack() as rest:
        keeper, _ = desk.held()

        async def run_all(renewals: Sequence[Any]) -> Sequence[Any]:
            asked.append(len(renewals))
            rest.close()
            first.close()
            return []

        desk.run_all = run_all  # type: ignore[method-assign, assignment]
        for number in range(250):
            (first if number < AT_ONCE else rest).enter_context(keeper.hold(cast("Lease", desk)))
        await keeper.renew()
    assert asked[0] == AT_ONCE
    assert sum(asked) == AT_ONCE
