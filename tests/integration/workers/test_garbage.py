"""What jobs that fail leave to the collector of garbage, which comes rarely: next to nothing, and no job."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from palaver.shared.errors import TimeoutError, ValidationError
from palaver.shared.ids import new_job_id, new_session_id
from palaver.shared.jobs import ChatJob
from palaver.workers.run import Run
from palaver.workers.submission import accept
from palaver.workers.work import Work
from tests.garbage import no_collector
from tests.integration.workers import user_agents
from tests.integration.workers.conftest import PROVIDERS, Engine, MakeEngine
from tests.integration.workers.doubles import PREFIX
from tests.integration.workers.test_batches import drive, open_batch_on
from tests.integration.workers.test_engine import FAILURES
from tests.integration.workers.test_engine_http import FAILURES as HTTP_FAILURES
from tests.integration.workers.test_tools import calling, rounds
from tests.model_server import ModelServer

pytestmark = pytest.mark.redis

TIMES = 20
"""Of each way to fail one."""
LATE = {"timeouts": {"read": 0.05}}
SCHEMA = {"name": "n", "json_schema": {"type": "object", "required": ["n"]}}
MODELS = ["scripted/status-401", "scripted/refused", "scripted/echo"]
ANSWERS = {"answers": [{"text": "1", "reason": "length"}]}

Way = Callable[[Engine], Awaitable[object]]


@pytest.fixture
async def engine(server: ModelServer, make_engine: MakeEngine, tmp_path: Path) -> Engine:
    others = {
        **PROVIDERS,
        "answering": {"kind": PREFIX + "Answering", "options": ANSWERS},
        "http": {"kind": "openai", "base_url": server.openai_url, "resume": "restart"},
        "nobody": {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"},
    }
    broken = {"kind": "scripted", "breaker": {"failures": 1, "pause": 600}}
    profiles = {name: {**profile, "breaker": None} for name, profile in others.items()}
    return await make_engine(
        profiles={**profiles, "broken": broken},
        tools="tests.integration.workers.user_tools",
        agents="tests.integration.workers.user_agents",
        files_url=f"file://{tmp_path}/files",
        max_answer_bytes=5000,
        lease_seconds=60,
        renew_seconds=20,
    )


def asked(script: Any, **fields: Any) -> Way:
    """A job that ends by itself. Each has a script of its own, whose requests are counted."""

    async def way(engine: Engine) -> None:
        session_id = new_session_id()
        own = {**script, "n": 5, "prefix": session_id} if isinstance(script, dict) else script
        await engine.run(await engine.submit(own, session_id=session_id, **fields))

    return way


def stopped(how: Callable[[Engine, ChatJob, asyncio.Task[Any]], Awaitable[object]], **fields: Any) -> Way:
    """A job that is ended from outside."""

    async def way(engine: Engine) -> None:
        job = await engine.submit("hello", session_id=new_session_id(), **{"model": "silent/m", **fields})
        running = asyncio.create_task(engine.run(job))
        await engine.said(job)
        await how(engine, job, running)
        await running

    return way


async def cancel(engine: Engine, job: ChatJob, _: Any) -> None:
    await engine.ledger.cancel(job.session_id or "", job.job_id)


async def end(engine: Engine, job: ChatJob, _: Any) -> None:
    engine.service.end(job.job_id, TimeoutError("the task's time limit is over"))


async def cancel_task(_: Engine, __: ChatJob, running: asyncio.Task[Any]) -> None:
    running.cancel()


async def lose(engine: Engine, job: ChatJob, _: Any) -> None:
    key = engine.ledger.keys.job(job.session_id or "", job.job_id)
    engine.client.hset(key, mapping={"attempt": 2, "holder": 2})
    await cancel(engine, job, _)


async def unreadable(engine: Engine, document: bytes) -> None:
    job = await engine.submit("hello", session_id=new_session_id())
    engine.client.hset(engine.ledger.keys.job(job.session_id or "", job.job_id), "doc", document)
    await engine.run(job)


async def refused(engine: Engine) -> None:
    document = {"messages": "hello", "job_id": new_job_id(), "temperature": "x" * 1000}
    with pytest.raises(ValidationError):
        await accept(engine.ledger, engine.service.settings, document)


async def a_line(engine: Engine, script: dict[str, Any]) -> None:
    await drive(engine, await open_batch_on(engine)([script], each={"max_retries": 0}))


def named(fail: dict[str, Any]) -> str:
    return " ".join(map(str, fail.values()))


BY_SCRIPT = {
    f"{named(fail)}, {retries} retries": asked(
        {"fail": fail}, model="again/echo", max_retries=retries, **LATE
    )
    for fail, _, _ in FAILURES
    for retries in (0, 1)
}
BY_HTTP = {
    f"{named(fail)}, by HTTP": asked({"fail": fail}, model="http/m", max_retries=0, **LATE)
    for fail, _, _ in HTTP_FAILURES
}
BY_AGENT = {
    f"{agent} with {said}": asked(said, agent=agent, model="nope/m")
    for agent, said in [
        ("breaking", "x"),
        ("breaking", "exit"),
        ("breaking", "cancelled"),
        ("breaking/thread", "x"),
        ("asking", "x"),
        ("asking/blocking", "x"),
        ("nobody/", "x"),
        ("failing", "x"),
    ]
}
BY_TOOL = {
    f"the tool {name}": asked(rounds(calling(name), {"text": "ok"}), tools=[{"name": name}])
    for name in ("broken", "leaving", "picky", "slow")
}
WAYS: dict[str, Way] = {
    "completed": asked("hello"),
    **BY_SCRIPT,
    **BY_HTTP,
    "nobody listens": asked("hello", model="nobody/m", max_retries=0),
    "retried": asked({"fail": {"status": 500, "times": 1}}, max_retries=2),
    "gone on with": asked({"fail": {"kind": "cut", "after": 2, "times": 1}}, max_retries=2),
    "parked": asked({"fail": {"status": 429, "retry_after": 60}}, max_retries=2),
    "another model": asked("hello", model=MODELS, max_retries=0),
    "no model": asked("hello", model="nope/m"),
    "a breaker": asked({"fail": {"status": 500}}, model="broken/echo", max_retries=0),
    **{
        f"a provider is {name}": asked("hello", model=f"{name}/m")
        for name in ("buggy", "cancelling", "leaving")
    },
    "an answer that cannot be written": asked("hello", model="unfit/m"),
    "too large": asked({"endless": True}),
    "no value of its schema": asked("no", response_schema=SCHEMA),
    "not whole": asked("hello", model="answering/m", complete={"max_continues": 1}),
    "late": asked("hello", model="silent/m", timeouts={"total": 0.05}),
    "cancelled": stopped(cancel),
    "told to end": stopped(end),
    "its task cancelled": stopped(cancel_task),
    "another worker's": stopped(lose),
    "an agent cancelled": stopped(cancel, agent="waiting"),
    **BY_AGENT,
    **BY_TOOL,
    "unreadable": partial(unreadable, document=b'{"messages": [{"role": "king", "content": "x"}]}'),
    "of a newer version": partial(unreadable, document=b'{"messages": "x", "version": "9.0"}'),
    "refused": refused,
    "a line": partial(a_line, script={"n": 5, "fail": {"kind": "cut", "after": 2}}),
}


async def test_jobs_that_fail_leave_none_of_themselves_in_cycles(engine: Engine) -> None:
    """A cycle of each would be more than two objects a job, and again; what is made once is not."""

    async def fail(way: Way, times: int) -> None:
        await asyncio.gather(*(way(engine) for _ in range(times)))

    async def leaves(way: Way) -> tuple[int, int]:
        await fail(way, TIMES)
        await engine.service._link.caught_up()
        user_agents.refused.clear()
        jobs = sum(isinstance(found, ChatJob | Work | Run) for found in gc.get_objects())
        return jobs, gc.collect()

    def much(found: tuple[int, int]) -> bool:
        return found > (0, 2 * TIMES)

    for way in WAYS.values():  # what is loaded or opened once is so then
        await fail(way, 2)
    with no_collector():
        left = {name: found for name, way in WAYS.items() if much(found := await leaves(way))}
        again = {name: found for name in left if much(found := await leaves(WAYS[name]))}
    assert again == {}
