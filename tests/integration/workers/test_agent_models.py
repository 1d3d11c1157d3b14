"""The models that agents ask: what readers have of them, and what can go wrong."""

import asyncio
import json

import pytest

from palaver.shared.jobs import Status
from tests.integration.workers.conftest import PROVIDERS, Engine, MakeEngine, text_of
from tests.integration.workers.doubles import PREFIX, Scripting, Silent
from tests.integration.workers.test_agents import AGENTS, ask
from tests.integration.workers.test_engine import end_of, kinds
from tests.integration.workers.test_tools import of

pytestmark = pytest.mark.redis


@pytest.fixture
async def engine(make_engine: MakeEngine) -> Engine:
    return await make_engine(agents=AGENTS, lease_seconds=60, renew_seconds=20)


async def test_a_model_that_an_agent_asks_streams_to_the_same_log(engine: Engine) -> None:
    job = {"model": "scripting/echo", "history": "session", "system": "Be kind."}
    events = await ask(engine, "asking", "What now?", **job)
    assert [start["offset"] for start in of(events, "stream_start")] == [0]
    response = end_of(events)["response"]
    assert response["content"] == text_of(events) == "Let me ask. What now?"
    assert response["usage"]["total_tokens"] > 0
    (asked,) = engine.provider("scripting", Scripting).asked
    assert [message.text for message in asked.messages] == [
        "Be brief.",
        "What now?",
    ]  # its own, not the job's
    assert asked.params.temperature == 0.5
    assert text_of(await ask(engine, "asking", "again", history="session")) == "2"


async def test_a_plain_function_asks_too_and_keeps_the_answer_to_itself(engine: Engine) -> None:
    events = await ask(engine, "asking/blocking", "hi", model="scripted/echo")
    assert text_of(events) == "<hi>"
    assert kinds(events).count("text_chunk") == 1


async def test_an_answer_that_replaces_a_models_keeps_what_the_model_thought(engine: Engine) -> None:
    script = json.dumps({"text": "tea", "reasoning": "Hm."})
    events = await ask(engine, "loud", script, model="scripted/echo")
    response = end_of(events)["response"]
    assert (response["content"], response["reasoning"]) == ("TEA", "Hm.")
    assert kinds(events)[-4:] == ["stream_start", "reasoning_chunk", "text_chunk", "stream_end"]


async def test_a_provider_that_fails_is_asked_again(engine: Engine) -> None:
    script = json.dumps({"text": "fine", "fail": {"status": 503, "times": 1}})
    events = await ask(engine, "asking", script, model="scripted/echo")
    assert text_of(events) == "Let me ask. fine"
    assert kinds(events).count("retry") == 1
    cut = json.dumps({"text": "It is noon.", "fail": {"kind": "cut", "after": 2}})
    end = end_of(await ask(engine, "asking", cut, model="scripted/echo"))
    assert (end["status"], end["error"]["type"]) == ("failed", "StreamInterruptedError")
    assert end["text"].startswith("Let me ask. It")


@pytest.mark.parametrize("first", ["leaving/m", "refusing/m", "keyless/m"])
async def test_a_model_that_cannot_answer_makes_way_for_the_next(make_engine: MakeEngine, first: str) -> None:
    refusing = {"kind": PREFIX + "Answering", "options": {"answers": [{"status": 400}]}}
    keyless = {"kind": "openai", "api_key_env": "NO_SUCH_KEY"}
    engine = await make_engine(
        agents=AGENTS, profiles={**PROVIDERS, "refusing": refusing, "keyless": keyless}
    )
    events = await ask(engine, "asking", "hi", model=[first, "scripted/echo"])
    assert (end_of(events)["status"], text_of(events)) == ("completed", "Let me ask. hi")
    assert kinds(events).count("retry") == 1


async def test_a_thought_that_readers_have_is_not_thought_again(engine: Engine) -> None:
    cut = {"kind": "cut", "after": 2, "times": 1}
    events = await ask(
        engine, "asking", json.dumps({"reasoning": "a b c", "text": "t", "fail": cut}), model="scripted/echo"
    )
    assert "".join(chunk["delta"] for chunk in of(events, "reasoning_chunk")) == "a b"
    assert end_of(events)["error"]["type"] == "StreamInterruptedError"


@pytest.mark.parametrize("agent", ["asking", "asking/blocking"])
async def test_cancel_reaches_the_model_that_an_agent_asks(engine: Engine, agent: str) -> None:
    job = await engine.submit("x", agent=agent, model="silent/m")
    running, provider = asyncio.create_task(engine.run(job)), engine.provider("silent", Silent)
    async with asyncio.timeout(20):
        while not provider.asked:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await engine.ledger.cancel("s1", job.job_id)
    assert (await running).status is Status.CANCELLED
    async with asyncio.timeout(20):
        while not provider.closed:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_model_that_nobody_has_is_named(engine: Engine) -> None:
    error = end_of(await ask(engine, "asking", "x", model="nobody/m"))["error"]
    assert (error["type"], error["param"]) == ("ValidationError", "model")
