"""Sessions that have become longer than what a model takes."""

from typing import Any

import pytest

from palaver.shared.messages import Role
from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.integration.workers.doubles import PREFIX
from tests.integration.workers.test_engine import end_of
from tests.integration.workers.test_structured import asked
from tests.integration.workers.test_tools import TOOLS, messages, of

pytestmark = pytest.mark.redis

LONG = "word " * 600  # a thousand tokens, by estimate


async def talking(make_engine: MakeEngine, *answers: Any, **profile: Any) -> Engine:
    own = {"kind": PREFIX + "Answering", "options": {"answers": list(answers)}, **profile}
    tenants = {"poor": {"spend_hard": 5}}
    return await make_engine(
        profiles={"own": own}, tenants=tenants, tools=TOOLS, lease_seconds=60, renew_seconds=20
    )


async def say(engine: Engine, words: Any, **fields: Any) -> list[dict[str, Any]]:
    events = await engine.answer(words, model="own/m", history="session", **fields)
    assert end_of(events)["status"] == "completed"
    return events


def sent(engine: Engine) -> list[str]:
    """The messages of the last request, each by its first word."""
    return [message.text.split()[0] for message in asked(engine)[-1].messages if message.text]


async def test_the_oldest_turns_are_left_out_and_readers_are_told(make_engine: MakeEngine) -> None:
    engine = await talking(make_engine, "A", "B", "C", context={"m": 3000})
    bounds = {"max_tokens": 100}
    assert of(await say(engine, f"one {LONG}", params=bounds), "warning") == []
    assert of(await say(engine, f"two {LONG}", params=bounds), "warning") == []
    assert sent(engine) == ["one", "A", "two"]
    events = await say(engine, f"three {LONG}", params=bounds, system="brief")
    assert sent(engine) == ["brief", "two", "B", "three"]
    (warning,) = of(events, "warning")
    assert (warning["code"], warning["param"]) == ("history_dropped", "history")
    assert warning["message"].startswith("The 2 oldest messages")
    assert len(await messages(engine)) == 6  # the session has them all


async def test_a_job_may_want_a_shorter_history(make_engine: MakeEngine) -> None:
    engine = await talking(make_engine, "A", {"text": "", "call": "clock"}, "B", "C")
    await say(engine, "one")
    await say(engine, "two", tools=[{"name": "clock"}])
    await say(engine, "three", history_limit={"messages": 5})
    assert [message.role.value for message in asked(engine)[-1].messages] == [
        "user", "assistant", "tool", "assistant", "user",
    ]  # fmt: skip
    await say(engine, "four", history_limit={"messages": 3})
    assert sent(engine) == ["three", "C", "four"]
    await say(engine, "five", history_limit={"tokens": 0})
    assert sent(engine) == ["five"]


async def test_a_system_message_of_the_history_stays(make_engine: MakeEngine) -> None:
    engine = await talking(make_engine, "A")
    history = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "A"},
    ]
    await engine.answer("two", model="own/m", history=history, history_limit={"messages": 0})
    assert sent(engine) == ["Be", "two"]


async def test_results_that_the_caller_brings_keep_their_calls(make_engine: MakeEngine) -> None:
    engine = await talking(make_engine, {"text": "", "call": "look"}, "B", context=50)
    look = {"name": "look", "description": "Look."}
    await say(engine, f"one {LONG}", tools=[look])
    result = [{"role": "tool", "tool_call_id": "c1", "content": "blue"}]
    await say(engine, result, tools=[look])
    roles = [message.role.value for message in asked(engine)[-1].messages]
    assert roles == ["user", "assistant", "tool"]


async def test_what_tools_say_takes_room_from_the_history(make_engine: MakeEngine) -> None:
    first = {"text": LONG, "call": "clock"}
    engine = await talking(make_engine, "A", first, "B", context=3000)
    bounds = {"max_tokens": 1000}
    await say(engine, f"one {LONG}", params=bounds)
    events = await say(engine, "two", tools=[{"name": "clock"}], params=bounds)
    assert [len(request.messages) for request in asked(engine)] == [1, 3, 3]
    assert [warning["code"] for warning in of(events, "warning")] == ["history_dropped"]


# Abstracts

SHORT = {"messages": 4, "summarize": True}


def systems(engine: Engine) -> list[str]:
    """What the system said to the model in the last request."""
    return [message.text for message in asked(engine)[-1].messages if message.role is Role.SYSTEM]


async def test_what_has_no_room_becomes_an_abstract(make_engine: MakeEngine) -> None:
    engine = await talking(make_engine, "A", "B", "They spoke of one.", "C", "D")
    await say(engine, "one", history_limit=SHORT)
    await say(engine, "two", history_limit=SHORT)
    assert len(asked(engine)) == 2
    events = await say(engine, "three", history_limit={"messages": 3, "summarize": True})
    (told,) = [message.text for message in asked(engine)[2].messages if message.role is Role.USER]
    assert told == "user: one\nassistant: A\nuser: two\nassistant: B"  # half of the room is left for later
    assert systems(engine) == ["Abstract of the conversation before:\nThey spoke of one."]
    assert sent(engine)[1:] == ["three"]
    assert text_of(events) == "C"
    assert [data["message"] for data in of(events, "progress")] == ["summary"]
    assert of(events, "warning") == []
    assert end_of(events)["usage"]["total_tokens"] == 4  # the abstract's request among them


async def test_an_abstract_is_kept_and_written_further(make_engine: MakeEngine) -> None:
    engine = await talking(make_engine, "A", "B", "C", "First.", "D", "E", "Second.", "F", "G")
    for words in ("one", "two", "three"):
        await say(engine, words)
    await say(engine, "four", history_limit=SHORT)
    assert systems(engine)[0].endswith("First.")
    assert sent(engine)[1:] == ["three", "C", "four"]
    await say(engine, "five", history_limit=SHORT)
    assert systems(engine)[0].endswith("First.")
    assert sent(engine)[1:] == ["three", "C", "four", "D", "five"]
    await say(engine, "six", history_limit=SHORT)
    (told,) = [message.text for message in asked(engine)[-2].messages if message.role is Role.USER]
    assert told.startswith("Abstract so far:\nFirst.\n\nuser: three")
    assert systems(engine)[0].endswith("Second.")
    assert sent(engine)[1:] == ["five", "E", "six"]
    await say(engine, "seven", system="Be brief.")  # wants none written, and has what there is
    assert systems(engine) == ["Be brief.\n\nAbstract of the conversation before:\nSecond."]
    assert sent(engine)[1:] == ["five", "E", "six", "F", "seven"]
    kept = [words for role, words in await messages(engine) if role == "user"]
    assert kept == ["one", "two", "three", "four", "five", "six", "seven"]


@pytest.mark.parametrize("failure", [{"status": 500}, "  "])
async def test_an_abstract_that_cannot_be_written_leaves_the_history(
    make_engine: MakeEngine, failure: Any
) -> None:
    engine = await talking(make_engine, "A", "B", failure, "C", "D")
    await say(engine, "one")
    await say(engine, "two")
    events = await say(engine, "three", history_limit={"messages": 2, "summarize": True})
    codes = [data["code"] for data in of(events, "warning")]
    assert codes == ["history_not_summarized", "history_dropped"]
    assert sent(engine) == ["two", "B", "three"]
    await say(engine, "four")
    assert sent(engine) == ["one", "A", "two", "B", "three", "C", "four"]


async def test_an_abstract_that_is_too_dear_is_done_without(make_engine: MakeEngine) -> None:
    engine = await talking(make_engine, "A", "B", "C", prices={"*": {"input": 0, "output": 1e4}})
    poor: dict[str, Any] = {"tenant": "poor", "params": {"max_tokens": 5}}
    await say(engine, "one", **poor)
    await say(engine, "two", **poor)
    events = await say(engine, "three", history_limit={"messages": 2, "summarize": True}, **poor)
    assert [data["code"] for data in of(events, "warning")] == ["history_not_summarized", "history_dropped"]
    assert sent(engine)[-1] == "three"


async def test_a_model_that_nobody_can_ask_writes_no_abstract(make_engine: MakeEngine) -> None:
    """The next one of the list answers the job."""
    profiles = {
        "keyless": {"kind": "openai", "api_key_env": "NO_SUCH_KEY"},
        "own": {"kind": PREFIX + "Answering", "options": {"answers": ["A", "B"]}},
    }
    engine = await make_engine(profiles=profiles, lease_seconds=60, renew_seconds=20)
    await say(engine, "one")
    limit = {"messages": 1, "summarize": True}
    job: dict[str, Any] = {"model": ["keyless/m", "own/m"], "history": "session", "history_limit": limit}
    events = await engine.answer("two", **job)
    assert end_of(events)["status"] == "completed"
    assert [data["code"] for data in of(events, "warning")] == ["history_dropped"]
    assert sent(engine) == ["two"]


async def test_a_job_that_fails_keeps_no_abstract(make_engine: MakeEngine) -> None:
    engine = await talking(make_engine, "A", "B", "Abstract.", {"status": 401}, "C")
    await say(engine, "one")
    await say(engine, "two")
    limit = {"messages": 2, "summarize": True}
    await engine.answer("three", model="own/m", history="session", history_limit=limit, max_retries=0)
    await say(engine, "four")
    assert sent(engine) == ["one", "A", "two", "B", "four"]


async def test_a_text_that_is_too_long_to_be_summarized_is_cut(make_engine: MakeEngine) -> None:
    engine = await talking(make_engine, "A", "B", "Abstract.", "C", context=3000)
    bounds = {"max_tokens": 100}
    await say(engine, f"one {LONG}{LONG}", params=bounds)
    await say(engine, f"two {LONG}", params=bounds, history_limit={"summarize": True})
    summary = asked(engine)[1].messages[-1].text
    assert len(summary) == 3000
    assert summary.endswith("assistant: A")
