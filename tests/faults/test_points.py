"""A worker that is killed at an exact point: a proxy holds it there, and SIGKILL ends it."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from palaver.shared.jobs import ChatJob
from tests.faults.proxy import Proxy
from tests.faults.stand import Job, Stand

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]


class Point(NamedTuple):
    """Where: a script or command, its reply or itself, and which of that name."""

    name: str
    reply: bool = True
    where: Callable[[list[bytes]], bool] = lambda words: True


def _acknowledges(words: list[bytes]) -> bool:
    return words[1] == b"unacked_index"


def _is_message(words: list[bytes]) -> bool:
    return words[1].startswith(b"palaver.")


POINTS = {
    "after it took the message": Point("BRPOP"),
    "before its claim": Point("claim", reply=False),
    "after its claim": Point("claim"),
    "before an append": Point("append", reply=False),
    "in the middle of an append": Point("append"),
    "before its finish": Point("finish", reply=False),
    "after its finish": Point("finish"),
    "before it acknowledges": Point("ZREM", reply=False, where=_acknowledges),
    "before the next turn's message": Point("LPUSH", reply=False, where=_is_message),
}
QUICK = "before the next turn's message"


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, id=name, marks=() if name == QUICK else pytest.mark.long)
        for name, point in POINTS.items()
    ],
)
def test_a_worker_dies_at(stand: Stand, point: Point) -> None:
    with Proxy(stand.redis.port) as proxy:
        (victim,) = stand.workers(1, env={"PALAVER_REDIS_URL": proxy.url})
        trap = proxy.hold(point.name, reply=point.reply, where=point.where)
        jobs = stand.submit(3, words=20, session_id="line", history=[])
        trap.wait()
        stand.kill(victim)
    stand.workers(1)
    books = stand.settle(jobs)
    ends = [books.events[job.id][-1]["seq"] for job in jobs]
    assert ends == sorted(ends)


@pytest.mark.long
def test_a_client_dies_before_its_message(stand: Stand) -> None:
    stored = stand.ledger.submit(ChatJob(messages='{"n": 3}', model="prefix/m"))
    stand.workers(1)
    stand.settle([Job(stand.client.job(stored.job_id), " w0 w1 w2")])
