"""A worker that is killed at an exact point: a proxy holds it there, and SIGKILL ends it."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from palaver.shared.jobs import ChatJob
from tests.faults.proxy import Proxy
from tests.faults.stand import Job, Stand

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]


class Point(NamedTuple):
    """Where: a script or command, its reply or itself, and which of that name; who wrote the job that was
    under way; and whether it is a command to the broker.
    """

    name: str
    reply: bool = True
    where: Callable[[list[bytes]], bool] = lambda words: True
    wrote: tuple[int, ...] = (1,)  # attempts
    broker: bool = False


def _forgets(words: list[bytes]) -> bool:
    return words[1] == b"palaver:due"


def _is_message(words: list[bytes]) -> bool:
    """Of a job: a canary is none."""
    return words[1].startswith(b"palaver.") and b'"palaver.chat"' in words[2]


POINTS = {
    "after it took the message": Point("BRPOP", broker=True),
    "before its claim": Point("claim", reply=False),
    "after its claim": Point("claim", wrote=(2,)),
    "before an append": Point("append", reply=False, wrote=(2,)),
    "in the middle of an append": Point("append", wrote=(1, 2)),
    "before its finish": Point("finish", reply=False, wrote=(1, 2)),
    "after its finish": Point("finish"),
    "before it forgets the job": Point("ZREM", reply=False, where=_forgets),
    "before the next turn's message": Point("LPUSH", reply=False, where=_is_message, broker=True),
}
QUICK = "in the middle of an append"
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(
            point,
            id=name,
            marks=[
                *([] if name == QUICK else [pytest.mark.long]),
                *([] if point.broker else [pytest.mark.any_broker]),
            ],
        )
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
    assert books.attempts(jobs[0]) == list(point.wrote)


@pytest.mark.any_broker
@pytest.mark.long
def test_a_client_dies_before_its_message(stand: Stand) -> None:
    stored = stand.ledger.submit(ChatJob(messages='{"n": 3}', model="prefix/m"))
    stand.workers(1)
    stand.settle([Job(stand.client.job(stored.job_id), " w0 w1 w2")])


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "reply", "teller"),
    [("save_entry", False, 2), ("save_entry", True, 1), ("finish", False, 1)],
    ids=["before it is told", "when it was told", "before the job's end"],
)
def test_a_tool_call_is_told_once(stand: Stand, name: str, reply: bool, teller: int) -> None:
    script = {"tool_calls": [{"id": "c1", "name": "look", "arguments": {"at": "it"}}]}
    with Proxy(stand.redis.port) as proxy:
        (victim,) = stand.workers(1, env={"PALAVER_REDIS_URL": proxy.url})
        trap = proxy.hold(name, reply=reply)
        (job,) = stand.submit(1, words=10, script=script, tools=[LOOK])
        trap.wait()
        stand.kill(victim)
    stand.workers(1)
    books = stand.settle([job])
    assert [event["attempt"] for event in books.of(job, "tool_call")] == [teller]
    assert [call.id for call in job.handle.result(timeout=5).tool_calls] == ["c1"]
    assert stand.provider.stats()["requests"] == teller
