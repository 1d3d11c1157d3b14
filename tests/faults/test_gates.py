"""Limits of a profile over real workers, one of which is killed."""

import pytest

from tests.faults.stand import Stand, until

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]

NARROW = """
[providers.narrow]
kind = "openai"
base_url = "{url}"
resume = "prefix"
limits = {{ concurrent = 2 }}
"""


def test_a_killed_worker_leaks_no_place_and_nobody_who_waits_is_forgotten(stand: Stand) -> None:
    stand.configure(NARROW.format(url=stand.provider.openai_url))
    workers = stand.workers(2)
    first = stand.submit(2, words=60, rate=20, model="narrow/m")
    stand.streaming(first)
    waiting = stand.submit(8, words=10, rate=20, model="narrow/m")
    until(
        lambda: all(stand.ledger.job(job.id).gate == "narrow" for job in waiting), "some jobs were not parked"
    )
    (gate,) = stand.ledger.gates()
    assert (gate.waiting, gate.running) == (8, 2)
    (holder,) = [worker for worker in workers if stand.held(first[:1], worker)]
    stand.kill(holder)
    stand.settle([*first, *waiting])
    assert stand.provider.stats()["max_open"] <= 2
