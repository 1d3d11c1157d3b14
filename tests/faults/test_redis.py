"""A Redis that stands still."""

import time
from collections.abc import Callable

import pytest

from tests.faults.conftest import MakeStand
from tests.faults.stand import HURRIED, UNHURRIED
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults"), pytest.mark.long]


@pytest.mark.parametrize(
    ("settings", "pause"), [(HURRIED, 5), (UNHURRIED, 15)], ids=["longer than a lease", "15 seconds"]
)
def test_a_pause_takes_nobody_over(
    own_redis: Callable[..., RedisServer], make_stand: MakeStand, settings: dict[str, str], pause: int
) -> None:
    stand = make_stand(own_redis("--enable-debug-command", "yes"), settings)
    stand.workers(3)
    jobs = stand.submit(60, words=30 * pause, rate=20)
    stand.streaming(jobs)
    begun = time.time()
    stand.raw.execute_command("DEBUG", "SLEEP", pause)  # type: ignore[no-untyped-call]
    assert time.time() - begun >= pause
    books = stand.settle(jobs, seconds=90)
    assert {attempt for job in jobs for attempt in books.attempts(job)} == {1}
