"""Agents that answer in the worker: what readers have of them, and what can go wrong."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palaver.shared.errors import WrongStateError
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.owner import Owner
from palaver.shared.stores import FileStore
from palaver.workers.agents import ResponseStream, display_widget, with_context
from palaver.workers.files import JobFiles
from tests.integration.workers import user_agents
from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.integration.workers.test_engine import end_of, kinds
from tests.integration.workers.test_tools import of

pytestmark = pytest.mark.redis

AGENTS = "tests.integration.workers.user_agents"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    for kept in (user_agents.made, user_agents.contexts, user_agents.refused):
        kept.clear()
    for event in (user_agents.holding, user_agents.release):
        event.clear()
    yield
    user_agents.release.set()


@pytest.fixture
async def engine(make_engine: MakeEngine) -> Engine:
    return await make_engine(agents=AGENTS, lease_seconds=60, renew_seconds=20)


async def ask(engine: Engine, agent: str, message: str = "hello", **fields: Any) -> list[dict[str, Any]]:
    return await engine.answer(message, agent=agent, **{"model": None, **fields})


async def holds() -> None:
    """Return when an agent waits."""
    assert await asyncio.to_thread(user_agents.holding.wait, 20)


# What readers have


async def test_what_an_agent_returns_is_its_answer(engine: Engine) -> None:
    events = await ask(engine, "support", history="session")
    assert kinds(events) == ["job_queued", "stream_start", "text_chunk", "stream_end"]
    start = of(events, "stream_start")[0]
    assert (start["provider"], start["model"], start["offset"]) == ("agent", "support", 0)
    end = end_of(events)
    assert (end["status"], end["finish_reason"]) == ("completed", "stop")
    assert end["response"]["content"] == text_of(events) == "Hello, hello!"
    assert end["response"]["model"] == "support"
    kept = [json.loads(message) for message in await engine.ledger.messages("s1")]
    assert [(m["role"], m["content"]) for m in kept] == [("user", "hello"), ("assistant", "Hello, hello!")]


@pytest.mark.parametrize(
    ("returns", "offsets", "text"),
    [
        ("nothing", [0], "one two "),
        ("content", [0], "one two "),
        ("other", [0, 0], "Something else."),
    ],
)
async def test_what_is_streamed_and_returned_is_said_once(
    engine: Engine, returns: str, offsets: list[int], text: str
) -> None:
    events = await ask(engine, f"streaming/{returns}/", "one two")
    assert [start["offset"] for start in of(events, "stream_start")] == offsets
    assert of(events, "stream_start")[0]["metadata"] == {"mood": "good"}
    assert end_of(events)["response"]["content"] == text_of(events) == text


async def test_readers_have_words_while_the_agent_goes_on(engine: Engine) -> None:
    job = await engine.submit("x", agent="waiting/thread")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    assert text_of(await engine.events(job)) == "one "
    user_agents.release.set()
    assert (await running).status is Status.COMPLETED
    assert text_of(await engine.events(job)) == "three"  # which is what it returned


async def test_plain_functions_run_in_threads(engine: Engine) -> None:
    assert text_of(await ask(engine, "/plain/", "hi")) == "palaver-agent: hi"


async def test_a_wrapped_coroutine_function_is_one(engine: Engine) -> None:
    assert text_of(await ask(engine, "wrapped")) == "I am palaver-agents"


async def test_every_stream_of_an_answer_has_a_start_with_its_metadata(engine: Engine) -> None:
    shown = await ask(engine, "scenes")  # a widget has begun the answer, and is told again at offset 0
    assert kinds(shown)[1:] == [
        "stream_start", "widget", "stream_start", "widget", "text_chunk",
        "stream_start", "text_chunk", "stream_end",
    ]  # fmt: skip
    assert starts(shown) == [(0, {}), (0, {"scene": 1}), (2, {"scene": 2})]
    assert text_of(shown) == end_of(shown)["response"]["content"] == "1.2."
    assert len(end_of(shown)["response"]["widgets"]) == 1
    assert starts(await ask(engine, "scenes", "late")) == [(0, {}), (2, {"scene": 2})]
    anew = await ask(engine, "scenes", "anew")
    assert starts(anew) == [(0, {}), (0, {"scene": 1}), (2, {"scene": 2}), (0, {"scene": 2})]
    assert kinds(anew)[-4:] == ["stream_start", "widget", "text_chunk", "stream_end"]
    assert text_of(anew) == end_of(anew)["response"]["content"] == "Anew."


async def test_streams_count_characters_and_one_may_be_empty(engine: Engine) -> None:
    events = await ask(engine, "streams", "Grüße ☂🐈,,x")
    assert starts(events) == [(0, {"part": 0}), (8, {"part": 1}), (8, {"part": 2})]
    assert text_of(events) == end_of(events)["response"]["content"] == "Grüße ☂🐈x"
    assert starts(await ask(engine, "streams", ",,a")) == [(0, {"part": number}) for number in range(3)]


def starts(events: list[dict[str, Any]]) -> list[tuple[int, Any]]:
    return [(start["offset"], start["metadata"]) for start in of(events, "stream_start")]


async def test_a_path_has_parameters(engine: Engine) -> None:
    text = text_of(await ask(engine, "docs/42/a/b/", user="u1"))
    session = "[('anonymous_id', None), ('session_id', 's1'), ('user_id', 'u1')]"
    assert text == session + " {'number': 42, 'rest': 'a/b'}"


async def test_what_an_agent_shows_comes_in_order(engine: Engine) -> None:
    events = await ask(engine, "showing")
    assert kinds(events)[1:] == [
        "stream_start", "text_chunk", "widget", "content", "text_chunk", "stream_end",
    ]  # fmt: skip
    widget = of(events, "widget")[0]
    assert (widget["widget_type"], widget["data"]) == ("form", {"slots": ["10:00"]})
    assert {"timestamp", "id"} < widget.keys()
    assert of(events, "content")[0]["content_type"] == "image"
    assert end_of(events)["response"]["widgets"] == [{"widget_type": "form", "data": {"slots": ["10:00"]}}]


async def test_an_answer_that_begins_anew_keeps_its_widgets(engine: Engine) -> None:
    events = await ask(engine, "showing", "anew")
    second = events[kinds(events).index("stream_start", 2) :]
    assert kinds(second) == ["stream_start", "widget", "content", "text_chunk", "stream_end"]
    assert text_of(events) == "Anew."
    assert of(second, "widget") == of(events, "widget")[:1]
    assert [widget["widget_type"] for widget in end_of(events)["response"]["widgets"]] == ["form"]


# Context


async def test_a_context_is_made_once_for_a_session_and_injected(engine: Engine) -> None:
    for message, text in [
        ("whose", "user 7 greeting!"),
        ("given", "user 7 paid?"),
        ("whose", "user 7 greeting!"),
    ]:
        assert text_of(await ask(engine, "support", message, user="7")) == text
    assert len(user_agents.contexts) == 1
    await ask(engine, "support", session_id="other")
    assert user_agents.contexts[1:] == ["None"]
    assert user_agents.made == ["support"]


async def test_first_messages_side_by_side_make_one_context(make_engine: MakeEngine) -> None:
    engines = [await make_engine(agents=AGENTS) for _ in range(2)]
    jobs = [
        await engines[0].submit("whose", agent="support", model=None, user="7", on_busy="parallel")
        for _ in range(8)
    ]
    await asyncio.gather(*(engines[n % 2].run(job) for n, job in enumerate(jobs)))
    for job in jobs:
        assert end_of(await engines[0].events(job))["status"] == "completed"
    assert len(user_agents.contexts) == 1


async def test_another_worker_finds_the_context(make_engine: MakeEngine) -> None:
    old, new = await make_engine(agents=AGENTS), await make_engine(agents=AGENTS)
    await ask(old, "support", user="7")
    assert text_of(await ask(new, "support", "whose", user="8")) == "user 7 greeting!"
    assert len(user_agents.contexts) == 1


async def test_a_parameter_that_nobody_gives_is_named(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    assert end_of(await ask(engine, "support", "price"))["error"]["type"] == "AgentError"

    @with_context()
    def buy(price: float, item: str = "tea") -> str:
        return f"{price} {item}"

    assert buy(1.5) == "1.5 tea"
    with pytest.raises(TypeError, match=r"buy\(\): 'price' is neither given nor a field"):
        buy()


async def test_a_context_may_come_from_the_session(engine: Engine) -> None:
    await engine.submit("x", session_id="s2", agent="careless")  # the session is there
    given = json.dumps({"tier": "gold", "user_id": "mallory", "session_id": "s9"})
    engine.client.hset(engine.ledger.keys.session("s1"), "context", given)
    assert text_of(await ask(engine, "careless")) == "gold 1"
    told = text_of(await ask(engine, "docs/1/x", user="u1"))
    assert "('session_id', 's1'), ('tier', 'gold'), ('user_id', 'u1')" in told


async def test_a_context_that_does_not_fit_is_told_by_its_fields(engine: Engine) -> None:
    engine.client.hset(engine.ledger.keys.session("s1"), "context", json.dumps({"seats": "hunter2"}))
    error = end_of(await ask(engine, "careless"))["error"]
    assert error["code"] == "agent_failed"
    assert "seats (int_parsing), tier (missing)" in error["message"]
    assert "hunter2" not in error["message"]
    bad_user = end_of(await ask(engine, "support", user="hunter2", session_id="s2"))["error"]["message"]
    assert "create_context of the agent 'support' raised" in bad_user
    assert "user_id (int_parsing)" in bad_user


async def test_a_context_that_does_not_fit_is_not_kept(engine: Engine) -> None:
    assert "tier (string_type)" in end_of(await ask(engine, "learning"))["error"]["message"]
    assert text_of(await ask(engine, "learning")) == "gold 1"
    assert text_of(await ask(engine, "learning")) == "gold 1"
    assert len(user_agents.contexts) == 2


# What goes wrong


@pytest.mark.parametrize(
    ("agent", "message", "kind"),
    [
        ("breaking", "x", "RuntimeError"),
        ("breaking", "exit", "SystemExit"),
        ("breaking", "cancelled", "CancelledError"),
        ("breaking/thread", "x", "StopIteration"),
    ],
)
async def test_an_agent_that_fails_ends_its_job_and_quotes_nothing(
    engine: Engine, caplog: pytest.LogCaptureFixture, agent: str, message: str, kind: str
) -> None:
    with caplog.at_level(logging.DEBUG):
        events = await ask(engine, agent, message)
    end = end_of(events)
    assert (end["status"], end["text"]) == ("failed", "Well. ")
    assert end["error"]["code"] == "agent_failed"
    assert f"get_response of the agent {agent!r} raised {kind};" in end["error"]["message"]
    assert "user_agents.py" in caplog.text  # where it failed is in the log
    assert "hunter2" not in caplog.text + json.dumps(events)
    assert "Traceback" not in json.dumps(events)


@pytest.mark.parametrize(
    ("agent", "message", "told"),
    [
        (
            "nobody/",
            "x",
            "agent: there is none at 'nobody'; there are: support/, support/, streaming/<returns>/",
        ),
        ("docs/many/x", "x", "agent: there is none at"),
        ("streaming/number", "x", "must return text, or None; it returned: int"),
        ("showing", "set", "raised TypeError"),
        ("ended", "x", "Cannot write to ended stream"),
        ("fixed/slots", "x", "copy of the agent 'fixed/slots' raised AttributeError"),
        ("fixed/property", "x", "giving user, files and context to a copy of the agent"),
        ("fixed/model", "x", "copy of the agent 'fixed/model' raised ValueError"),
        ("unkept", "x", "the JSON of Context of the agent 'unkept' raised PydanticSerializationError"),
        ("failing", "x", "the constructor of the agent 'failing' raised OSError"),
    ],
)
async def test_what_is_wrong_is_said(engine: Engine, agent: str, message: str, told: str) -> None:
    end = end_of(await ask(engine, agent, message))
    assert (end["status"], end["error"]["type"] != "InternalError") == ("failed", True)
    assert told in end["error"]["message"]


async def test_a_worker_without_agents_names_the_setting(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    error = end_of(await ask(engine, "support"))["error"]
    assert (error["type"], error["param"]) == ("ValidationError", "agent")
    assert "PALAVER_AGENTS" in error["message"]


async def test_an_agent_that_could_not_be_made_is_made_again(engine: Engine) -> None:
    assert "raised OSError" in end_of(await ask(engine, "failing"))["error"]["message"]
    assert text_of(await ask(engine, "failing")) == "made"
    await ask(engine, "failing")
    assert user_agents.made == ["failing", "failing"]


def test_outside_a_conversation_there_is_none() -> None:
    with pytest.raises(RuntimeError, match="no conversation"):
        ResponseStream()
    with pytest.raises(RuntimeError, match="no conversation"):
        display_widget("form", {})


async def test_the_text_of_an_exception_is_logged_where_content_may_be(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await make_engine(agents=AGENTS, log_content=True)
    events = await ask(engine, "breaking")
    assert "RuntimeError: 'hunter2 hello'" in caplog.text
    assert "hunter2" not in json.dumps(events)


async def test_an_answer_has_a_largest_size(make_engine: MakeEngine) -> None:
    engine = await make_engine(agents=AGENTS, max_document_bytes=20_000)
    end = end_of(await ask(engine, "flooding"))
    assert (end["status"], end["error"]["code"]) == ("failed", "agent_failed")
    assert "larger than 20000 bytes" in end["error"]["message"]
    assert len(end["text"]) <= 20_000
    returned = end_of(await ask(engine, "returning", "20001", session_id="s2"))
    assert "the answer of the agent 'returning' is larger than 20000 bytes" in returned["error"]["message"]
    assert returned["text"] == ""


# Ends


@pytest.mark.parametrize("agent", ["waiting", "waiting/thread"])
async def test_cancel_reaches_an_agent(engine: Engine, agent: str) -> None:
    job = await engine.submit("x", agent=agent, history="session")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    await engine.ledger.cancel("s1", job.job_id)
    assert (await running).status is Status.CANCELLED
    user_agents.release.set()
    async with asyncio.timeout(20):
        while not user_agents.refused:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    refused = user_agents.refused[0]
    assert isinstance(refused, asyncio.CancelledError if agent == "waiting" else WrongStateError)
    events = await engine.events(job)
    assert (kinds(events)[-1], text_of(events)) == ("stream_end", "one ")


async def test_time_ends_an_agent(make_engine: MakeEngine) -> None:
    engine = await make_engine(agents=AGENTS, agent_seconds=3)
    late = end_of(await ask(engine, "waiting", session_id="a"))
    total = end_of(await ask(engine, "waiting/thread", session_id="b", timeouts={"total": 0.1}))
    assert (late["status"], late["error"]["code"], late["text"]) == ("failed", "agent_failed", "one ")
    assert "PALAVER_AGENT_SECONDS, 3" in late["error"]["message"]
    assert total["error"]["type"] == "TimeoutError"


async def test_a_takeover_begins_anew(make_engine: MakeEngine) -> None:
    old, new = await make_engine(agents=AGENTS), await make_engine(agents=AGENTS)
    job = await old.submit("x", agent="waiting/thread")
    running = asyncio.create_task(old.run(job))
    await old.said(job)
    await old.service.drain(0)
    assert (await running).reason == "released"
    user_agents.release.set()
    assert (await new.run(job)).status is Status.COMPLETED
    events = await new.events(job)
    assert [start["offset"] for start in of(events, "stream_start")] == [0, 0, 0]
    assert end_of(events)["response"]["content"] == text_of(events) == "three"


async def test_an_agent_that_blocks_holds_up_no_stream(engine: Engine) -> None:
    stuck = await engine.submit("x", agent="blocking", session_id="stuck")
    running = asyncio.create_task(engine.run(stuck))
    await holds()
    events = await engine.answer("The streams go on", session_id="other")
    assert text_of(events) == "The streams go on"
    assert text_of(await ask(engine, "plain", "and so do threads")).endswith("and so do threads")
    assert not running.done()
    user_agents.release.set()
    assert (await running).status is Status.COMPLETED


# Files


async def test_an_agent_has_the_files_of_its_message(engine: Engine, tmp_path: Path) -> None:
    settings = engine.service.settings.model_copy(update={"files_url": f"file://{tmp_path}"})
    engine.service._workshop.answering.agents._files = JobFiles.of(settings)
    store = FileStore.of(settings)
    mine = await store.put(b"one two", filename="f1.txt")
    theirs = await store.put(b"three", filename="f2.txt", owner=Owner(user="bob"))
    assert text_of(await ask(engine, "reader", files=[mine])) == "From f1.txt: one two\n[]"
    assert text_of(await ask(engine, "reader")) == "[]"
    refused = end_of(await ask(engine, "reader", files=[theirs]))
    assert (refused["status"], refused["error"]["type"]) == ("failed", "FileRefusedError")


# Hooks


async def test_hooks_change_the_message_and_the_answer(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await make_engine(agents=f"{AGENTS}, tests.integration.workers.user_hooks")
    before = {"role": "assistant", "content": "Well?"}
    events = await engine.answer([before, {"role": "user", "content": "hook"}], agent="hooked", model=None)
    assert [start["offset"] for start in of(events, "stream_start")] == [0, 0]
    assert end_of(events)["response"]["content"] == text_of(events) == "HOOKED AFTER 1 "
    assert "hook=broken_hook error=RuntimeError" in caplog.text
    assert "hunter2" not in caplog.text


# Announcements


async def test_workers_say_which_agents_they_serve(engine: Engine) -> None:
    announced = [announcement.name for announcement in await engine.ledger.announced_agents()]
    assert "docs/<int:number>/<path:rest>/" in announced
    assert len(announced) == len({route.pattern.text for route in user_agents.chat_urlpatterns})


async def test_messages_at_once_share_no_self(engine: Engine) -> None:
    jobs = [await engine.submit("x", agent="meeting", user=name, session_id=name) for name in "ab"]
    await asyncio.gather(*(engine.run(job) for job in jobs))
    assert [text_of(await engine.events(job)) for job in jobs] == ["a a a", "b b b"]


async def test_agents_run_side_by_side(engine: Engine) -> None:
    jobs: list[ChatJob] = []
    for number in range(50):
        jobs.append(await engine.submit("whose", agent="support", user=f"{number}", session_id=f"s{number}"))  # noqa: PERF401
    await asyncio.gather(*(engine.run(job) for job in jobs))
    for number, job in enumerate(jobs):
        assert text_of(await engine.events(job)) == f"user {number} greeting!"
    assert user_agents.made == ["support"]
    assert threading.active_count() < 100
