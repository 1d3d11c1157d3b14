"""Tools that run in the worker: rounds, events, history, and everything that can go wrong."""

import asyncio
import json
import logging
from typing import Any

import pytest

from palaver.shared.jobs import ChatJob, Status
from palaver.shared.tools import FunctionTool
from palaver.workers.generation import ToolContext
from tests.integration.workers import user_tools
from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.integration.workers.doubles import PREFIX, Scripting
from tests.integration.workers.test_engine import end_of, kinds

pytestmark = pytest.mark.redis

TOOLS = "tests.integration.workers.user_tools"
ADD = {"name": "add"}
CLOCK = {"name": "clock"}


@pytest.fixture
async def engine(make_engine: MakeEngine) -> Engine:
    user_tools.seen.clear()
    return await make_engine(tools=TOOLS, lease_seconds=60, renew_seconds=20)


def calling(*names: str, **arguments: Any) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": arguments} for name in names]}


def rounds(*each: dict[str, Any]) -> dict[str, Any]:
    return {"rounds": list(each)}


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event["data"] for event in events if event["type"] == kind]


async def messages(engine: Engine) -> list[tuple[str, Any]]:
    """The session's history, in short."""
    kept = [json.loads(message) for message in await engine.ledger.messages("s1")]
    names = [[call["name"] for call in message.get("tool_calls", [])] for message in kept]
    return [
        (message["role"], called or message["content"]) for message, called in zip(kept, names, strict=True)
    ]


def scripting(engine: Engine) -> Scripting:
    return engine.provider("scripting", Scripting)


async def told(engine: Engine, job: ChatJob, kind: str) -> None:
    """Return when the job has told an event of this kind."""
    async with asyncio.timeout(20):
        while kind not in kinds(await engine.events(job)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def seen() -> ToolContext:
    """What a tool that waits was given, once it waits."""
    async with asyncio.timeout(20):
        while not user_tools.seen:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return user_tools.seen[-1]


# What a round is


async def test_a_call_is_run_and_its_result_answered(engine: Engine) -> None:
    script = rounds({"deltas": ["I add."], **calling("add", a=2, b=3)}, {"deltas": ["It is five."]})
    events = await engine.answer(script, tools=[ADD])
    assert kinds(events) == [
        "job_queued", "stream_start", "text_chunk", "tool_call", "tool_result", "text_chunk", "stream_end",
    ]  # fmt: skip
    assert of(events, "tool_call") == [{"id": "call_0", "name": "add", "arguments": {"a": 2, "b": 3}}]
    result = {"id": "call_0", "name": "add", "content": "5", "is_error": False}
    assert of(events, "tool_result") == [result]
    response = end_of(events)["response"]
    assert response["content"] == text_of(events) == "I add.It is five."
    assert (response["finish_reason"], response["tool_calls"]) == ("stop", [])
    assert response["metadata"]["tool_rounds"] == 1
    history = [("assistant", ["add"]), ("tool", "5"), ("assistant", "It is five.")]
    assert (await messages(engine))[1:] == history


async def test_the_next_request_has_the_calls_and_their_results_in_order(engine: Engine) -> None:
    first = {"deltas": ["Look."], "reasoning": "Hm.", **calling("add", "clock", a=1, zone="CET")}
    script = rounds(first, {"deltas": ["Done."]})
    events = await engine.answer(
        script, model="scripting/echo", tools=[ADD, {"name": "clock"}], system="Be brief."
    )
    system, user, called, added, told = scripting(engine).asked[1].messages
    assert (system.text, user.role.value, called.text, called.reasoning) == (
        "Be brief.",
        "user",
        "Look.",
        "Hm.",
    )
    assert [call.name for call in called.tool_calls or []] == ["add", "clock"]
    assert [(m.tool_call_id, m.name, m.text) for m in (added, told)] == [
        ("call_0", "add", "Error executing add: zone: is not a known field"),
        ("call_1", "clock", "Error executing clock: a: is not a known field"),
    ]
    assert sorted(data["id"] for data in of(events, "tool_result")) == ["call_0", "call_1"]


async def test_usage_and_thoughts_of_all_rounds_are_kept(engine: Engine) -> None:
    usage = {"usage": {"input_tokens": 3, "output_tokens": 4}}
    first = {"reasoning": "One.", **usage, **calling("clock")}
    events = await engine.answer(rounds(first, {"reasoning": "Two.", "text": "x", **usage}), tools=[CLOCK])
    response = end_of(events)["response"]
    assert (response["reasoning"], response["usage"]["total_tokens"]) == ("One.Two.", 14)


async def test_ids_that_a_provider_uses_again_are_told_apart(engine: Engine) -> None:
    script = rounds(calling("clock", "clock"), calling("clock"), {"text": "ok"})
    events = await engine.answer(script, tools=[CLOCK])
    ids = [data["id"] for data in of(events, "tool_call")]
    assert ids == ["call_0", "call_1", "call_0.2"]
    assert sorted(data["id"] for data in of(events, "tool_result")) == sorted(ids)


async def test_a_definition_of_nothing_but_a_name_is_filled_in(engine: Engine) -> None:
    own = {"name": "clock", "description": "My own words.", "parameters": {"type": "object"}}
    await engine.answer("hello", model="scripting/echo", tools=[ADD, own])
    add, clock = scripting(engine).asked[0].tools or []
    assert (add.description, sorted(add.parameters["properties"])) == ("Add two numbers.", ["a", "b"])
    assert clock == FunctionTool(**own)


async def test_a_job_that_names_no_tools_gets_none(engine: Engine) -> None:
    events = await engine.answer(calling("add", a=1), model="scripting/echo")
    assert scripting(engine).asked[0].tools is None
    assert "tool_result" not in kinds(events)
    assert end_of(events)["finish_reason"] == "tool_calls"


async def test_an_answer_that_wants_calls_answered_and_makes_none_has_stopped(engine: Engine) -> None:
    events = await engine.answer({"text": "Well.", "finish_reason": "tool_calls"}, tools=[ADD])
    assert (end_of(events)["finish_reason"], kinds(events)[-1]) == ("stop", "stream_end")


# Bounds


async def test_the_rounds_are_bounded_and_end_with_an_answer(make_engine: MakeEngine) -> None:
    engine = await make_engine(tools=TOOLS, tool_rounds=2)
    events = await engine.answer(
        rounds({"deltas": ["."], **calling("clock")}), model="scripting/echo", tools=[CLOCK]
    )
    assert [request.tool_choice and request.tool_choice.mode for request in scripting(engine).asked] == [
        None,
        None,
        "none",
    ]
    assert kinds(events).count("tool_result") == 2
    assert [data["code"] for data in of(events, "warning")] == ["tool_rounds"]
    assert (end_of(events)["status"], end_of(events)["finish_reason"]) == ("completed", "stop")


@pytest.mark.parametrize("choice", ["required", "add"])
async def test_a_call_that_is_demanded_is_demanded_once(engine: Engine, choice: str) -> None:
    script = rounds(calling("add", a=1), {"text": "ok"})
    await engine.answer(script, model="scripting/echo", tools=[ADD], tool_choice=choice)
    first, second = scripting(engine).asked
    assert (first.tool_choice is None, second.tool_choice) == (False, None)


async def test_a_result_is_cut_at_its_bound(make_engine: MakeEngine) -> None:
    engine = await make_engine(tools=TOOLS, tool_output_bytes=5)
    events = await engine.answer(rounds(calling("long", size=4), {"text": "ok"}), tools=[{"name": "long"}])
    assert of(events, "tool_result")[0]["content"] == "éé\n[cut: 4 characters are more than 5 bytes]"


# What goes wrong

WRONG = ("broken", "leaving", "picky", "slow")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("broken", "Error executing broken: RuntimeError"),
        ("leaving", "Error executing leaving: SystemExit"),
        ("picky", "Error executing picky: it is closed on Mondays"),
        ("slow", "Error executing slow: no result within 0.2 seconds"),
        ("made_up", f"Error executing made_up: there is no such function; there are: {', '.join(WRONG)}"),
    ],
)
async def test_what_goes_wrong_is_told_to_the_model(
    engine: Engine, caplog: pytest.LogCaptureFixture, name: str, told: str
) -> None:
    tools = [{"name": tool} for tool in WRONG]
    with caplog.at_level(logging.DEBUG):
        events = await engine.answer(rounds(calling(name), {"text": "I see."}), tools=tools)
    result = of(events, "tool_result")[0]
    assert (result["content"], result["is_error"]) == (told, True)
    assert end_of(events)["status"] == "completed"
    everything = caplog.text + json.dumps(events) + str(await messages(engine))
    assert "hunter2" not in everything
    assert "Traceback" not in json.dumps(events)
    assert ("user_tools.py" in caplog.text) == (name in ("broken", "leaving"))  # the log says where it failed


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("lost", "Error executing lost: CancelledError"),
        ("exiting", "Error executing exiting: SystemExit"),
        ("silent", "null"),
        ("telling", '{"n":5}'),
    ],
)
async def test_nothing_that_a_source_does_ends_a_job(make_engine: MakeEngine, name: str, told: str) -> None:
    engine = await make_engine(tools=f"{TOOLS}:Careless")
    events = await engine.answer(rounds(calling(name), {"text": "I see."}), tools=[{"name": name}])
    assert of(events, "tool_result")[0]["content"] == told
    assert end_of(events)["response"]["content"] == "I see."


async def test_arguments_that_are_no_object_are_not_executed(make_engine: MakeEngine) -> None:
    engine = await make_engine(tools=TOOLS, profiles={"garbled": {"kind": PREFIX + "Garbled"}})
    events = await engine.answer("hello", model="garbled/m", tools=[ADD])
    result = of(events, "tool_result")[0]
    assert result["is_error"]
    assert "the arguments must be a JSON object" in result["content"]
    assert of(events, "tool_call")[0]["arguments"] == '{"a": 1'
    assert end_of(events)["response"]["content"] == text_of(events) == "Well.sorry"
    assert kinds(events)[2:5] == ["text_chunk", "tool_call", "tool_result"]  # in the order in which they came


# Ends


@pytest.mark.parametrize("name", ["wait", "stuck"])
async def test_cancel_ends_a_job_whose_tool_runs_at_once(engine: Engine, name: str) -> None:
    script = rounds({"deltas": ["Well."], **calling(name)}, {"text": "ok"})
    job = await engine.submit(script, tools=[{"name": name}], user="u1", metadata={"shop": 5})
    running = asyncio.create_task(engine.run(job))
    context = await seen()
    assert (context.job_id, context.session_id, context.call_id) == (job.job_id, "s1", "call_0")
    assert (context.user, context.metadata) == ("u1", {"shop": 5})
    assert not context.stopped.is_set()
    await engine.ledger.cancel("s1", job.job_id)
    assert (await running).status is Status.CANCELLED
    assert context.stopped.is_set()
    assert (await messages(engine))[1:] == [("assistant", "Well.")]  # an open call would spoil the session
    assert end_of(await engine.events(job))["text"] == "Well."


async def test_time_ends_a_job_whose_tool_runs(engine: Engine) -> None:
    script, tools = rounds(calling("wait"), {"text": "ok"}), [{"name": "wait"}]
    late = await engine.answer(script, tools=tools, timeouts={"total": 0.2}, session_id="a")
    over = await engine.answer(script, tools=tools, deadline=1, session_id="b")
    assert (end_of(late)["status"], end_of(late)["error"]["type"]) == ("failed", "TimeoutError")
    assert end_of(over)["status"] == "expired"
    assert all(context.stopped.is_set() for context in user_tools.seen)


async def test_a_takeover_asks_no_finished_request_and_runs_no_finished_tool_again(
    make_engine: MakeEngine,
) -> None:
    old, new = await make_engine(tools=TOOLS), await make_engine(tools=TOOLS)
    user_tools.seen.clear()
    first = {"deltas": ["Both."], "tool_calls": [{"name": "clock"}, {"name": "wait"}]}
    job = await old.submit(
        rounds(first, {"text": "ok"}), model="scripting/echo", tools=[CLOCK, {"name": "wait"}]
    )
    running = asyncio.create_task(old.run(job))
    await told(old, job, "tool_result")
    await seen()
    await old.service.drain(0)
    assert (await running).reason == "released"
    again = asyncio.create_task(new.run(job))
    async with asyncio.timeout(20):
        while len(user_tools.seen) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    first_try, second_try = user_tools.seen
    assert (first_try.call_id, first_try.stopped.is_set()) == (second_try.call_id, True)
    await new.ledger.cancel("s1", job.job_id)
    await again
    events = await new.events(job)
    assert [data["name"] for data in of(events, "tool_call")] == ["clock", "wait"]
    assert [data["name"] for data in of(events, "tool_result")] == ["clock"]
    assert [data["offset"] for data in of(events, "stream_start")] == [0]
    assert len(scripting(old).asked) == 1
    assert not hasattr(scripting(new), "asked")


@pytest.mark.parametrize("said", [[], ["Well."]])
async def test_a_takeover_between_rounds_tells_nothing_twice(
    make_engine: MakeEngine, said: list[str]
) -> None:
    late = {"kind": "scripted", "options": {"rate": 0, "start": 60}}  # but for its first round
    old = await make_engine(tools=TOOLS, profiles={"scripted": late})
    new = await make_engine(tools=TOOLS)
    first = {"start": 0, "deltas": said, "usage": False, **calling("clock")}
    script = rounds(first, {"text": "noon"})
    job = await old.submit(script, tools=[CLOCK])
    running = asyncio.create_task(old.run(job))
    await told(old, job, "tool_result")
    await old.service.drain(0)
    await running
    assert (await new.run(job)).status is Status.COMPLETED
    events = await new.events(job)
    whole = "".join(said) + "noon"
    assert end_of(events)["response"]["content"] == text_of(events) == whole
    assert len(of(events, "tool_call")) == len(of(events, "tool_result")) == 1
    # With offset 0 readers would drop what the tools have said.
    assert [data["offset"] for data in of(events, "stream_start")] == ([0, 5] if said else [0])


async def test_finished_rounds_are_told_again_where_an_answer_begins_anew(make_engine: MakeEngine) -> None:
    scripted = {"kind": "scripted", "resume": "restart", "options": {"rate": 0}}
    engine = await make_engine(profiles={"scripted": scripted}, tools=TOOLS)
    cut = {"text": "It is noon.", "fail": {"kind": "cut", "after": 2, "times": 1}}
    events = await engine.answer(
        rounds({"deltas": ["Well."], "reasoning": "Hm.", **calling("clock")}, cut), tools=[CLOCK]
    )
    assert [data["offset"] for data in of(events, "stream_start")] == [0, 0]
    assert end_of(events)["response"]["content"] == text_of(events) == "Well.It is noon."
    second = events[kinds(events).index("retry") :]
    assert kinds(second)[:5] == ["retry", "stream_start", "reasoning_chunk", "text_chunk", "tool_call"]
    assert of(second, "tool_result") == of(events, "tool_result")[:1]
    assert end_of(events)["response"]["reasoning"] == "Hm."


async def test_answers_with_tools_may_be_truncated_too(engine: Engine) -> None:
    script = rounds(
        {"deltas": ["I look"], "finish_reason": "length"},
        {"deltas": [" again."], **calling("clock")},
        {"deltas": ["It is"], "finish_reason": "length"},
        {"deltas": [" noon."]},
    )
    events = await engine.answer(script, tools=[CLOCK], complete=True)
    assert end_of(events)["response"]["content"] == "I look again.It is noon."
    assert (await messages(engine))[1:] == [
        ("assistant", ["clock"]),
        ("tool", '{"time":"noon","zone":"UTC"}'),
        ("assistant", "It is noon."),
    ]
    kept = [json.loads(message) for message in await engine.ledger.messages("s1")]
    assert kept[1]["content"] == "I look again."


# Tools of whoever submits


LOOK = {"name": "look", "description": "Look at something.", "parameters": {"type": "object"}}


async def test_calls_of_tools_that_no_worker_has_are_for_the_caller(engine: Engine) -> None:
    script = {**calling("look", at="sky"), "text": "It is blue."}
    first = end_of(await engine.answer(script, tools=[LOOK], history="session"))
    (call,) = first["response"]["tool_calls"]
    assert (first["status"], first["finish_reason"]) == ("completed", "tool_calls")
    result = {"role": "tool", "tool_call_id": call["id"], "content": "blue"}
    second = await engine.submit([result], tools=[LOOK], history="session")
    await engine.run(second)
    assert text_of(await engine.events(second)) == "It is blue."
    assert [role for role, _ in await messages(engine)] == ["user", "assistant", "tool", "assistant"]


async def test_a_name_alone_that_no_worker_has_is_the_callers_and_said_to_be(engine: Engine) -> None:
    events = await engine.answer(calling("price"), tools=[LOOK, CLOCK, {"name": "price"}])
    (warning,) = of(events, "warning")
    assert (warning["code"], warning["param"]) == ("tools_unknown", "tools")
    assert warning["message"].endswith(" is to run price.")
    assert [call["name"] for call in end_of(events)["response"]["tool_calls"]] == ["price"]


async def test_the_caller_may_keep_the_conversation_itself(engine: Engine) -> None:
    script = json.dumps({**calling("look"), "text": "It is blue."})
    asked: list[dict[str, Any]] = [{"role": "user", "content": script}]
    first = end_of(await engine.answer(asked, tools=[LOOK], session_id="a"))["response"]
    asked.append({"role": "assistant", "content": None, "tool_calls": first["tool_calls"]})
    asked.append({"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "blue"})
    events = await engine.answer(asked, tools=[LOOK], session_id="b")
    assert end_of(events)["response"]["content"] == "It is blue."


async def test_a_worker_runs_what_it_has_and_leaves_the_rest_to_the_caller(engine: Engine) -> None:
    script = {**calling("clock", "look"), "text": "ok"}
    events = await engine.answer(script, tools=[CLOCK, LOOK], history="session")
    response = end_of(events)["response"]
    assert [data["name"] for data in of(events, "tool_result")] == ["clock"]
    assert [call["name"] for call in response["tool_calls"]] == ["look"]
    assert response["finish_reason"] == "tool_calls"
    assert [role for role, _ in await messages(engine)] == ["user", "assistant", "tool"]
