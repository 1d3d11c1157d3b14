"""Whole jobs through one worker process: how many a second, how soon the first chunk, how a session grows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any, Literal

from palaver.producer import AsyncClient, Client
from palaver.shared.errors import PalaverError
from palaver.shared.ids import new_token
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import Operation, SyncLedger, operations
from palaver.shared.settings import Settings
from tests.benchmarks.contenders import Enter, Palaver
from tests.benchmarks.noop import Nothing
from tests.benchmarks.stage import Load, Stage, cpu_seconds, stage
from tests.benchmarks.streams import Figures, percentiles

SHORT = 3  # chunks of a short answer
AT_ONCE = 200  # short jobs
PAUSE_SECONDS = 0.02  # between jobs that come to an idle system


def short(enter: Enter, jobs: int) -> Figures:
    """Short jobs a second when all of them wait already: from a tenth of them to the last."""
    load = Load(streams=jobs, chunks=SHORT, slots=AT_ONCE)
    with stage() as on:
        contender = enter(on, load)
        contender.submit()
        worker = contender.start()
        first = contender.until_ended(jobs / 10)
        began, before = time.monotonic(), cpu_seconds(worker.pid)
        contender.until_ended(jobs)
        seconds, used = time.monotonic() - began, cpu_seconds(worker.pid) - before
        return {"jobs_a_second": (jobs - first) / seconds, "cpu_ms": used / (jobs - first) * 1000}


def nothing(jobs: int) -> Figures:
    """As `short`, for a Celery task on our pool that does nothing: what Celery and the pool take of a job."""
    return short(Nothing, jobs)


def first_chunk(jobs: int) -> Figures:
    """Milliseconds from `submit` on an idle system until the provider is asked, and until a chunk is read.

    The reader is the library's own, in the program that submits.
    """
    with stage() as on:
        worker = Palaver(on, Load(streams=10, chunks=1))
        worker.start()
        asked, read = asyncio.run(_probe(worker.settings, jobs))
    return {
        **{f"asked_{part}_ms": value for part, value in percentiles(asked).items()},
        **{f"read_{part}_ms": value for part, value in percentiles(read).items()},
    }


async def _probe(settings: Settings, jobs: int) -> tuple[list[int], list[int]]:
    """Nanoseconds of each job."""
    question = Load(streams=1, chunks=1, stamped=True).question
    asked: list[int] = []
    read: list[int] = []
    async with AsyncClient(settings) as client:
        for number in range(jobs + 10):
            began = time.monotonic_ns()
            handle = await client.submit(question, model="bench/m", session_id=f"bench-{number}")
            async for chunk in handle:
                if chunk.delta and number >= 10:  # the first ones open connections
                    read.append(time.monotonic_ns() - began)
                    asked.append(int(chunk.delta.split(":")[1]) - began)
            await asyncio.sleep(PAUSE_SECONDS)
    return asked, read


def session_growth(earlier: int, jobs: int) -> Figures:
    """Milliseconds of CPU, of worker and Redis, that a job costs in a new session and behind so many others.

    Without history it is beside the first jobs; with as much as a job is given at most (`history_`) beside
    jobs of a session that has no more jobs than this takes (`as_long_`).
    """
    with stage() as on:
        load = Load(streams=10, chunks=SHORT)
        palaver = Palaver(on, load)
        worker = palaver.start()
        cost = partial(_cost, on, palaver.settings, worker.pid, load.question)
        cost("warm-up", 50)
        first = cost("old", jobs)
        _fill(palaver.settings, "old", earlier)
        last = cost("old", jobs)
        fresh = cost("new", jobs)
        _fill(palaver.settings, "as-long", palaver.settings.history_messages // 2)
        as_long = cost("as-long", jobs, history=True)
        told = cost("old", jobs, history=True)
    return {
        **{f"first_{name}": value for name, value in first.items()},
        **{f"late_{name}": value for name, value in last.items()},
        **{f"fresh_{name}": value for name, value in fresh.items()},
        **{f"as_long_{name}": value for name, value in as_long.items()},
        **{f"history_{name}": value for name, value in told.items()},
        "ratio": last["cpu_ms"] / min(first["cpu_ms"], fresh["cpu_ms"]),
        "history_ratio": told["cpu_ms"] / as_long["cpu_ms"],
    }


def _cost(
    on: Stage,
    settings: Settings,
    worker: int,
    question: str,
    session: str,
    jobs: int,
    *,
    history: bool = False,
) -> Figures:
    assert on.redis.running is not None
    before, times = cpu_seconds(worker) + cpu_seconds(on.redis.running.pid), []
    with Client(settings) as client:
        for _ in range(jobs):
            began = time.monotonic()
            told: Literal["session"] | list[str] = "session" if history else []
            client.submit(question, model="bench/m", session_id=session, history=told).result(60)
            times.append(time.monotonic() - began)
    used = cpu_seconds(worker) + cpu_seconds(on.redis.running.pid) - before
    return {"cpu_ms": used / jobs * 1000, "wall_ms": median(times) * 1000}


def _fill(settings: Settings, session: str, jobs: int) -> None:
    """Have so many jobs come and end in a session, without a worker; many in a round trip, in order."""
    end = b'"type":"stream_end","data":{"status":"completed"}'
    message = b'{"role":"assistant","content":"done"}'
    with SyncLedger(settings) as ledger:
        keys, retention = ledger.keys, ledger.retention

        def life(job: ChatJob) -> Iterator[Operation[Any]]:
            place, token = (keys, session, job.job_id), new_token()
            yield operations.submit(keys, job, retention=retention)
            yield operations.claim(*place, token=token, worker="filler", lease=60.0)
            yield operations.finish(
                *place,
                fence=f"1:{token}",
                status=Status.COMPLETED,
                end=end,
                response=b"{}",
                history=[message, message],
                retention=retention,
            )

        made = (ChatJob(messages="filler", session_id=session, history=[]) for _ in range(jobs))
        results = ledger.run_many([step for job in made for step in life(job)])
    assert not any(isinstance(result, PalaverError) for result in results), results[:3]
