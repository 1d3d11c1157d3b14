"""Why a worker is not ready, of plain values."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from palaver.shared.ledger import Vigil
from palaver.shared.ledger.replies import CanaryState
from palaver.workers.lease import LeaseKeeper
from palaver.workers.readiness import Consumption, Readiness, Watch

LEASE = 10.0
ALL = frozenset({"palaver.low", "palaver.normal"})


@dataclass
class World:
    """What a worker is asked about."""

    unconfirmed: float = 0.0
    connected: bool = True
    draining: bool = False
    serving: bool = True
    consumption: Consumption = field(default_factory=lambda: Consumption(queues=ALL, roomy=99.0))
    waits: dict[str, float] = field(default_factory=dict)
    waited: float | None = None
    swept_ago: float | None = 1.0
    looked: float | None = 0.0
    now: float = 0.0

    def readiness(self) -> Readiness:
        canaries = {
            q: CanaryState(waits_for=seconds, waited=self.waited) for q, seconds in self.waits.items()
        }
        watch: Any = type("Seen", (), {})()
        watch.seen, watch.looked = Vigil(time=0.0, canaries=canaries, swept_ago=self.swept_ago), self.looked
        return Readiness(
            leases=cast("LeaseKeeper", self),
            connected=lambda: self.connected,
            draining=lambda: self.draining,
            lease_seconds=LEASE,
            clock=lambda: self.now,
            serving=self.serving,
            consumption=lambda: self.consumption,
            watch=cast("Watch", watch),
        )

    def reasons(self) -> dict[str, str]:
        return {problem.reason: problem.told for problem in self.readiness().problems()}


def test_a_worker_that_does_its_work_is_ready() -> None:
    assert World().reasons() == {}
    assert World(waits={"palaver.low": 14.0}, swept_ago=14.0, unconfirmed=9.0).reasons() == {}
    assert World(looked=None, swept_ago=99.0).reasons() == {}, "it has not looked yet"
    assert World(swept_ago=None).reasons() == {}, "older workers say nothing of their sweeps"


@pytest.mark.parametrize(
    ("world", "reason", "told"),
    [
        (World(serving=False), "starting", "it does not take jobs yet"),
        (World(draining=True), "draining", "it takes no more jobs, and stops"),
        (World(connected=False), "ledger", "Redis is away, or refuses what it is asked"),
        (World(unconfirmed=11.0), "leases", "no lease was renewed for 11 seconds, they last 10"),
        (
            World(consumption=Consumption(queues=ALL, connected=False, missing=ALL)),
            "connection",
            "it has no connection to the broker",
        ),
        (
            World(consumption=Consumption(queues=ALL, missing=ALL)),
            "consumers",
            "it does not consume palaver.low, palaver.normal",
        ),
        (
            World(waits={"palaver.low": 16.0, "palaver.normal": 2.0}),
            "canary",
            "there is room, and yet nobody takes the canary of palaver.low 16 seconds",
        ),
        (
            World(consumption=Consumption(queues=ALL, roomy=99.0, silent=16.0)),
            "stuck",
            "there is room, and yet it has asked for no message for 16 seconds",
        ),
        (World(swept_ago=16.0), "sweeps", "no sweep was completed for 16 seconds"),
        (World(swept_ago=6.0, now=10.0), "sweeps", "no sweep was completed for 16 seconds"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_reason_is_told_in_a_word_and_a_line(world: World, reason: str, told: str) -> None:
    assert world.reasons() == {reason: told}


def test_a_worker_that_is_full_or_was_until_lately_need_not_ask_for_messages() -> None:
    for roomy in (0.0, 14.0):
        full = Consumption(queues=ALL, roomy=roomy, silent=99.0)
        assert World(consumption=full, waits={"palaver.low": 99.0}).reasons() == {}


def test_a_canary_may_wait_behind_a_backlog_that_this_worker_works_on() -> None:
    busy = Consumption(queues=ALL, roomy=99.0, taken={"palaver.normal": 0.1})
    assert World(consumption=busy, waits={"palaver.normal": 99.0, "palaver.low": 99.0}).reasons() == {}
    idle = Consumption(queues=ALL, roomy=99.0, taken={"palaver.normal": 16.0})
    assert set(World(consumption=idle, waits={"palaver.low": 99.0}).reasons()) == {"canary"}


def test_a_canary_that_starves_behind_a_queue_in_which_nothing_waits_is_told() -> None:
    busy = Consumption(queues=ALL, roomy=99.0, taken={"palaver.normal": 0.1})
    waits = {"palaver.normal": 0.0, "palaver.low": 61.0}
    told = World(consumption=busy, waits=waits, waited=0.01).reasons()
    assert told == {"canary": "there is room, and yet nobody takes the canary of palaver.low 61 seconds"}
    assert World(consumption=busy, waits=waits, waited=2.0).reasons() == {}, "there is a backlog before it"
    assert World(consumption=busy, waits={**waits, "palaver.low": 59.0}, waited=0.01).reasons() == {}
    own = Consumption(queues=ALL, roomy=99.0, taken={"palaver.low": 0.1})
    assert World(consumption=own, waits=waits).reasons() == {}, "it comes to the messages before it"


def test_what_is_taken_from_a_queue_behind_it_excuses_no_canary() -> None:
    skipping = Consumption(queues=ALL, roomy=99.0, taken={"palaver.low": 0.1})
    told = World(consumption=skipping, waits={"palaver.normal": 99.0, "palaver.low": 99.0}).reasons()
    assert told == {"canary": "there is room, and yet nobody takes the canary of palaver.normal 99 seconds"}


def test_it_has_started_once_it_takes_jobs_whatever_the_weather() -> None:
    storm = World(connected=False, unconfirmed=99.0, waits={"palaver.low": 99.0}, swept_ago=99.0)
    assert storm.readiness().starting() == []
    assert World(draining=True).readiness().starting() == []
    assert [problem.reason for problem in World(serving=False).readiness().starting()] == ["starting"]


def test_the_canary_of_a_queue_that_is_another_worker_s_is_not_this_one_s() -> None:
    assert World(waits={"palaver.batch": 99.0}).reasons() == {}


def test_a_worker_that_stops_is_asked_for_no_more_than_its_leases() -> None:
    stopped = Consumption(queues=ALL, connected=False)
    assert set(World(draining=True, consumption=stopped, swept_ago=99.0).reasons()) == {"draining"}
