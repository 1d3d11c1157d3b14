"""The worker that asks for all who ask the same is killed: one of the others asks, and nobody else does."""

import pytest

from tests.faults.stand import Stand, until

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.long, pytest.mark.xdist_group("faults")]


def test_a_killed_leader_strands_nobody(stand: Stand) -> None:
    workers = stand.workers(2)
    (leader,) = stand.submit(1, words=120, rate=20, cache=True)
    stand.streaming([leader])
    followers = stand.submit(10, words=120, rate=20, cache=True)
    until(lambda: all(job.handle.view().worker for job in followers), "nobody claims the followers")
    asking = next(worker for worker in workers if stand.held([leader], worker))
    assert stand.provider.stats()["requests"] == 1
    stand.kill(asking)
    books = stand.settle([leader, *followers])
    # The killed one's own request is gone on with; of all others one has asked.
    assert stand.provider.stats()["requests"] == 3
    asked = [job for job in followers if "from_cache" not in books.of(job, "stream_end")[0]["data"]["usage"]]
    assert len(asked) == 1
