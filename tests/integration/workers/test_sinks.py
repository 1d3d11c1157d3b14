"""Sinks are told what the log has accepted, in its order; no job knows of what becomes of them."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from palaver.shared.errors import ConfigurationError
from palaver.shared.jobs import Status
from palaver.shared.settings import Settings
from palaver.workers.service import WorkerService
from tests import pusher_server
from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.integration.workers.user_sinks import Ends, Remembering
from tests.processes import Processes

pytestmark = pytest.mark.redis

OWN = "tests.integration.workers.user_sinks"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    Remembering.forget()
    Ends.told.clear()
    yield
    Remembering.forget()


def seqs(session_id: str = "s1") -> list[int]:
    return [event.seq for told in Remembering.told for event in told if event.session_id == session_id]


async def until(engine: Engine, name: str, count: int, what: str = "published") -> None:
    """Return when so many events of a sink were published, or lost."""
    async with asyncio.timeout(20):
        while engine.service._workshop.sinks.counts[name][what] < count:  # noqa: ASYNC110 - its counts wake nobody
            await asyncio.sleep(0.01)


async def left(engine: Engine) -> None:
    """Return when nobody follows a session any more."""
    async with asyncio.timeout(20):
        while engine.service._workshop.sinks._followers:  # noqa: ASYNC110 - nobody is told when they leave
            await asyncio.sleep(0.01)


async def test_an_own_sink_is_told_what_is_in_the_log(make_engine: MakeEngine) -> None:
    engine = await make_engine(sinks=f"{OWN}.Remembering, {OWN}:Ends")
    events = await engine.answer("one two three")
    again = await engine.answer("four")
    told = [event for event in [*events, *again] if event["type"] != "job_queued"]
    await until(engine, f"{OWN}.Remembering", len(told))
    await until(engine, f"{OWN}:Ends", 2)
    assert seqs() == [event["seq"] for event in told]
    assert [event.job_id for event in Ends.told] == [events[0]["job_id"], again[0]["job_id"]]
    await left(engine)
    await engine.service.close()
    assert Remembering.closed


async def test_a_slow_sink_slows_no_job_and_misses_nothing(make_engine: MakeEngine) -> None:
    engine = await make_engine(sinks=f"{OWN}.Remembering")
    Remembering.gate = threading.Event()
    words = " ".join(str(number) for number in range(300))
    jobs = [await engine.answer(words) for _ in range(3)]
    assert [text_of(job) for job in jobs] == [words] * 3
    assert Remembering.told == []
    Remembering.gate.set()
    written = [event["seq"] for job in jobs for event in job if event["type"] != "job_queued"]
    await until(engine, f"{OWN}.Remembering", len(written))
    assert seqs() == written


async def test_a_session_has_one_call_at_a_time(make_engine: MakeEngine) -> None:
    engine = await make_engine(sinks=f"{OWN}.Remembering")
    jobs = [await engine.submit("a b c", on_busy="parallel") for _ in range(5)]
    await asyncio.gather(*(engine.run(job) for job in jobs))
    logged = [event for job in jobs for event in await engine.events(job) if event["type"] != "job_queued"]
    await until(engine, f"{OWN}.Remembering", len(logged))
    assert seqs() == sorted(event["seq"] for event in logged)
    assert Remembering.at_once == 0


async def test_a_job_is_cancelled_that_is_told_to_end_before_its_sinks_follow_it(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await make_engine(sinks=f"{OWN}:Ends")
    asked, answers, seq = asyncio.Event(), asyncio.Event(), engine.ledger.seq

    async def slow(session_id: str) -> int:
        asked.set()
        await answers.wait()
        return await seq(session_id)

    monkeypatch.setattr(engine.ledger, "seq", slow)
    job = await engine.submit("hello", model="silent/m")
    running = asyncio.create_task(engine.run(job))
    await asked.wait()
    running.cancel()
    await asyncio.sleep(0)
    answers.set()
    assert (await running).status is Status.CANCELLED
    assert (await engine.events(job))[-1]["type"] == "stream_end"
    await until(engine, f"{OWN}:Ends", 1)


async def test_a_sink_that_fails_hurts_no_job_and_is_counted(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await make_engine(sinks=f"{OWN}.Remembering")
    Remembering.fails = True
    with caplog.at_level(logging.WARNING, "palaver.workers.sinks"):
        events = await engine.answer("one two")
        await until(engine, f"{OWN}.Remembering", len(events) - 1, "lost")
    assert text_of(events) == "one two"
    assert "reason=ValueError" in caplog.text
    assert "what was said" not in caplog.text


async def test_what_the_log_has_dropped_is_counted(make_engine: MakeEngine) -> None:
    engine = await make_engine(sinks=f"{OWN}.Remembering", log_maxlen=5)
    Remembering.gate = threading.Event()
    last = ""
    for number in range(60):
        job = await engine.submit(f"{number}")
        await engine.run(job)
        last = job.job_id
    Remembering.gate.set()
    await left(engine)
    log = await engine.ledger.log_bounds("s1")
    assert engine.service._workshop.sinks.counts[f"{OWN}.Remembering"]["lost"] > 0
    assert (Remembering.told[-1][-1].job_id, seqs()[-1]) == (last, log.seq)
    assert seqs() == sorted(set(seqs()))


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("nowhere.Sink", "nowhere.Sink cannot be imported"),
        (f"{OWN}.NoSink", "is no subclass of Sink"),
    ],
)
async def test_a_wrong_sink_is_told_at_the_start_of_a_worker(redis_url: str, place: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"PALAVER_SINKS: .*{told}"):
        WorkerService(Settings(redis_url=redis_url, sinks=place))


# Pusher

STREAM = ["stream_start", "text_chunk", "stream_end"]
StartPusher = Callable[..., tuple[dict[str, Any], Callable[[], Any]]]


@pytest.fixture
def start_pusher(processes: Processes) -> StartPusher:
    """Start a server; settings for it, and what asks it what it was told."""

    def start(*words: str) -> tuple[dict[str, Any], Callable[[], Any]]:
        running = processes.python("tests/pusher_server.py", *words, name="pusher")
        port = running.wait_for(r"^(\d+)$")[1]
        url = f"http://127.0.0.1:{port}"

        keys = {"KEY": pusher_server.KEY, "SECRET": pusher_server.SECRET, "APP_ID": pusher_server.APP}
        return {"pusher": {**keys, "url": url}}, lambda: pusher_server.told_at(url)

    return start


async def test_pusher_is_told_with_signed_requests(
    make_engine: MakeEngine, start_pusher: StartPusher
) -> None:
    settings, told = start_pusher("--failures", "1")
    engine = await make_engine(agents="tests.integration.workers.user_agents", **settings)
    words = "wörds " * 3000
    events = await engine.answer(words, session_id="a:b")
    ours = [event for event in events if event["type"] in ("stream_start", "text_chunk", "stream_end")]
    await until(engine, "pusher", len(ours))
    said = await asyncio.to_thread(told)
    assert said["refused"] == []
    assert {message["channel"] for message in said["told"]} == {"conversation-session-a;b"}
    names = [message["name"] for message in said["told"]]
    assert (names[0], names[-1]) == ("stream_start", "stream_end")
    assert set(names[1:-1]) == {"text_chunk"}
    assert "".join(json.loads(message["data"])["chunk"] for message in said["told"][1:-1]) == words
    # Each ResponseStream of an agent is told from its start to its end.
    more = await engine.answer("a,b", agent="streams", model=None)
    await until(engine, "pusher", len(ours) + len(more) - 1)
    said = await asyncio.to_thread(told)
    assert [message["name"] for message in said["told"][len(names) :]] == STREAM * 2


async def test_a_pusher_that_refuses_hurts_no_job_and_no_secret_is_told(
    make_engine: MakeEngine, start_pusher: StartPusher, caplog: pytest.LogCaptureFixture
) -> None:
    settings, told = start_pusher()
    settings["pusher"]["SECRET"] = "another-hush-hush"
    engine = await make_engine(**settings)
    with caplog.at_level(logging.DEBUG):
        events = await engine.answer("one two")
        await until(engine, "pusher", len(events) - 1, "lost")
    assert text_of(events) == "one two"
    assert "signature" in (await asyncio.to_thread(told))["refused"][0]
    assert "reason=AuthenticationError" in caplog.text
    assert "hush-hush" not in caplog.text
    assert pusher_server.KEY not in caplog.text
