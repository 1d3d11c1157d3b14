"""Jobs of several requests whose worker dies: between them, in the middle of one, while a tool runs."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from palaver.shared.jobs import Status
from tests.faults.proxy import Proxy
from tests.faults.stand import Books, Job, Stand, ready, until
from tests.processes import ROOT, Running

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]

TOOLS = [{"name": name} for name in ("mark", "amark", "deadly", "endless")]


def calls(*each: tuple[str, str, float]) -> list[dict[str, Any]]:
    return [{"id": id_, "name": name, "arguments": {"seconds": seconds}} for id_, name, seconds in each]


ROUNDS = [
    {"n": 6, "tool_calls": calls(("a", "mark", 0), ("b", "mark", 0.5), ("c", "amark", 0.2))},
    {"n": 14, "rate": 4, "tool_calls": calls(("d", "mark", 0.3))},
    {},
]
"""The second one takes two seconds: a kill that comes with the first tools comes before anybody is in the
third. Of that as little may be left to say as one answer has room for, and then nothing is continued.
"""


@dataclass(frozen=True)
class Workers:
    """Workers of a stand that have the tools, and the book of what these ran."""

    stand: Stand
    book: Path

    def start(self, count: int = 1, **env: str) -> list[Running]:
        tools = {"PALAVER_TOOLS": "tests.faults.rounds_tools", "ROUNDS_BOOK": str(self.book)}
        return self.stand.workers(count, env={"PYTHONPATH": str(ROOT), **tools, **env})

    def runs(self, job: Job) -> list[tuple[float, str]]:
        """When each call of the job began to run."""
        lines = [line.split() for line in self.book.read_text(encoding="utf-8").splitlines()]
        return [(float(at), call) for at, job_id, call in lines if job_id == job.id]


@pytest.fixture
def workers(stand: Stand, tmp_path: Path) -> Workers:
    book = tmp_path / "book"
    book.touch()
    return Workers(stand, book)


def settle(workers: Workers, jobs: list[Job], *, ids: str, continues: int) -> Books:
    """What holds of the rounds of any job: each call and each result told once, and each continue; no tool
    was begun again that readers had the result of.
    """
    books = workers.stand.settle(jobs)
    for job in jobs:
        assert sorted(_ids(books, job, "tool_call")) == sorted(_ids(books, job, "tool_result")) == list(ids)
        assert [event["data"]["done"] for event in books.of(job, "progress")] == [*range(1, continues + 1)]
        told = {event["data"]["id"]: event["time"] for event in books.of(job, "tool_result")}
        late = [call for at, call in workers.runs(job) if at > told[call]]
        assert not late, f"{job.id}: {late} ran again"
        kept = [m for m in workers.stand.ledger.messages(job.session) if b'"tool"' in m]
        assert len(kept) == len(ids)
    return books


def _in_last_round(job: Job) -> bool:
    view = job.handle.view()
    return view.status.ended or len(view.text.split()) > 6 + 14


def _ids(books: Books, job: Job, kind: str) -> list[str]:
    return [event["data"]["id"] for event in books.of(job, kind)]


@pytest.mark.long
@pytest.mark.any_broker
def test_a_worker_is_killed_among_rounds(stand: Stand, workers: Workers) -> None:
    started = workers.start(2)
    script = {"rounds": ROUNDS, "limit": 8}
    jobs = stand.submit(16, words=24, rate=20, script=script, tools=TOOLS, complete=True)
    until(lambda: any(workers.runs(job) for job in jobs), "no tool ran")
    stand.streaming(jobs)
    victim = stand.busiest(started, jobs)
    fault = stand.kill(victim)
    held = stand.held(jobs, victim)
    assert held
    books = settle(workers, jobs, ids="abcd", continues=1)
    recoveries = books.recoveries(held, fault)
    assert len(recoveries) == len(held)
    assert all(0 not in books.offsets(job)[1:] for job in jobs)


@pytest.mark.long
def test_answers_that_begin_anew_keep_their_finished_rounds(stand: Stand, workers: Workers) -> None:
    started = workers.start(2)
    script = {"rounds": ROUNDS}
    jobs = stand.submit(16, words=120, rate=20, script=script, tools=TOOLS, model="restart/m")
    for job in jobs:
        # five seconds of words; the jobs get there one after the other, as their tools share a few threads
        until(lambda job=job: _in_last_round(job), f"{job.id} has no third round")  # type: ignore[misc]
    victim = stand.busiest(started, jobs)
    stand.kill(victim)
    held = stand.held(jobs, victim)
    assert held
    books = stand.settle(jobs)
    for job in held:
        assert books.offsets(job)[-1] == 0
        # told again behind the new beginning, and run once
        assert _ids(books, job, "tool_call") == [*"abcd", *"abcd"]
        assert sorted(call for _, call in workers.runs(job)) == [*"abcd"]


POINTS = {
    # at which entry, before it is stored or after; requests in all, and continues
    "before the calls are stored": (b'"kind":"called"', False, 4, 1),
    "when the calls are stored": (b'"kind":"called"', True, 3, 1),
    "before a result is stored": (b'"kind":"result"', False, 3, 1),
    "when a result is stored": (b'"kind":"result"', True, 3, 1),
    # the text is there, and the next request goes on behind it
    "before a continue is stored": (b'"kind":"continued"', False, 3, 0),
    "when a continue is stored": (b'"kind":"continued"', True, 3, 1),
}


@pytest.mark.long
@pytest.mark.parametrize("point", [pytest.param(point, id=name) for name, point in POINTS.items()])
def test_a_worker_dies_at(stand: Stand, workers: Workers, point: tuple[bytes, bool, int, int]) -> None:
    content, reply, requests, continues = point
    with Proxy(stand.redis.port) as proxy:
        (victim,) = workers.start(PALAVER_REDIS_URL=proxy.url)
        trap = proxy.hold("save_entry", reply=reply, where=lambda words: content in b" ".join(words))
        script = {"rounds": [{"n": 6, "tool_calls": calls(("a", "mark", 0))}, {}], "limit": 8}
        (job,) = stand.submit(1, words=20, script=script, tools=TOOLS, complete=True)
        trap.wait()
        stand.kill(victim)
    workers.start()
    settle(workers, [job], ids="a", continues=continues)
    assert stand.provider.stats()["requests"] == requests
    if content == b'"kind":"result"':
        assert len(workers.runs(job)) == (1 if reply else 2)


@pytest.mark.long
def test_a_tool_that_kills_its_workers_is_given_up(stand: Stand, workers: Workers) -> None:
    script = {"rounds": [{"n": 3, "tool_calls": calls(("a", "deadly", 0))}, {}]}
    (job,) = stand.submit(1, words=9, script=script, tools=TOOLS)
    for _ in range(3):
        worker = workers.stand.start_worker(
            env={"PYTHONPATH": str(ROOT), "PALAVER_TOOLS": "tests.faults.rounds_tools"}
        )
        ready(worker)
        assert worker.wait(60) == -signal.SIGKILL
    workers.start()
    books = stand.settle([job], status=Status.FAILED)
    end = books.events[job.id][-1]["data"]
    assert (end["error"]["type"], end["text"]) == ("JobPoisonedError", " w0 w1 w2")
    assert stand.provider.stats()["requests"] == 1


@pytest.mark.long
def test_a_tool_that_never_ends_holds_no_worker_that_stops(stand: Stand, workers: Workers) -> None:
    (old,) = workers.start()
    script = {"rounds": [{"n": 3, "tool_calls": calls(("a", "endless", 0))}, {}]}
    (job,) = stand.submit(1, words=9, script=script, tools=TOOLS)
    until(lambda: job.handle.view().attempt == 1 and b"tool_call" in b"".join(_log(stand, job)), "no call")
    old.signal(signal.SIGTERM)
    assert old.wait(30) == 0
    workers.start()
    until(lambda: job.handle.view().attempt == 2, "nobody took it over")
    job.handle.cancel()
    stand.settle([job], status=Status.CANCELLED)


def _log(stand: Stand, job: Job) -> list[bytes]:
    return stand.ledger.events(job.session)
