"""Sessions that have become longer than what a model takes."""

from typing import Any

import pytest

from tests.integration.workers.conftest import Engine, MakeEngine
from tests.integration.workers.doubles import PREFIX
from tests.integration.workers.test_engine import end_of
from tests.integration.workers.test_structured import asked
from tests.integration.workers.test_tools import TOOLS, messages, of

pytestmark = pytest.mark.redis

LONG = "word " * 600  # a thousand tokens, by estimate


async def talking(make_engine: MakeEngine, *answers: Any, **profile: Any) -> Engine:
    own = {"kind": PREFIX + "Answering", "options": {"answers": list(answers)}, **profile}
    return await make_engine(profiles={"own": own}, tools=TOOLS, lease_seconds=60, renew_seconds=20)


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
