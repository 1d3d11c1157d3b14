"""Chains of thought: one request a step, then the solution; and modes, which set sampling parameters."""

import asyncio
from typing import Any

import pytest

from palaver.shared.modes import ChatMode
from palaver.shared.params import ChatParams
from palaver.shared.responses import ChatResponse, Response
from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.integration.workers.test_engine import end_of, kinds
from tests.integration.workers.test_structured import GOOD, WANTED, answering, asked
from tests.integration.workers.test_tools import TOOLS, messages, of

pytestmark = pytest.mark.redis

STEPS = ["Identify entities", "Define relationships"]
TASK = "Design a database schema"
ANSWERS = ["Users. ", "Users have orders. ", "CREATE TABLE users"]


async def chain(engine: Engine, **fields: Any) -> list[dict[str, Any]]:
    return await engine.answer(TASK, model="own/m", **({"chain": {"steps": STEPS}} | fields))


def said(request: Any) -> list[tuple[str, str]]:
    return [(message.role.value, message.text) for message in request.messages]


async def test_each_step_is_a_request_and_its_words_are_reasoning(make_engine: MakeEngine) -> None:
    engine = await answering(make_engine, *ANSWERS)
    events = await chain(engine)
    assert kinds(events) == [
        "job_queued", "stream_start", "reasoning_chunk", "progress", "reasoning_chunk", "progress",
        "text_chunk", "stream_end",
    ]  # fmt: skip
    assert of(events, "progress") == [
        {"done": 1, "total": 2, "message": "step"},
        {"done": 2, "total": 2, "message": "step"},
    ]
    seen = Response.of(ChatResponse.model_validate(end_of(events)["response"]))
    assert (seen.reasoning, seen.solution) == ("Users. Users have orders. ", "CREATE TABLE users")
    assert text_of(events) == seen.solution
    assert end_of(events)["usage"]["total_tokens"] == 6
    assert [words for _, words in await messages(engine)] == [TASK, "CREATE TABLE users"]


async def test_the_prompts_have_all_steps_in_order_and_the_answers_between(make_engine: MakeEngine) -> None:
    engine = await answering(make_engine, *ANSWERS)
    await chain(engine)
    first, second, last = map(said, asked(engine))
    assert first[0] == ("user", TASK)
    assert "1. Identify entities\n2. Define relationships" in first[1][1]
    assert first[1][1].endswith("Do step 1 now, and no other: Identify entities")
    assert second == [
        *first,
        ("assistant", "Users. "),
        ("user", "Do step 2 now, and no other: Define relationships"),
    ]
    assert last[-2] == ("assistant", "Users have orders. ")
    assert last[-1][1].startswith("All steps are done.")


async def test_the_models_own_thoughts_are_told_but_not_sent_back(make_engine: MakeEngine) -> None:
    first = {"text": "Users. ", "thought": "Hm. "}
    engine = await answering(make_engine, first, *ANSWERS[1:])
    events = await chain(engine)
    assert end_of(events)["response"]["reasoning"] == "Hm. Users. Users have orders. "
    assert said(asked(engine)[1])[2] == ("assistant", "Users. ")
    assert asked(engine)[1].messages[2].reasoning is None


@pytest.mark.parametrize(
    ("answers", "code", "param", "name"),
    [
        (["Users. ", {"status": 401}], "authentication", "chain.steps[1]", "step 2 of 2 of the chain: "),
        (["Users. ", " "], "malformed_stream", "chain.steps[1]", "step 2 of 2 of the chain: "),
        ([*ANSWERS[:2], {"status": 401}], "authentication", "chain", "the solution of the chain: "),
        ([*ANSWERS[:2], ""], "malformed_stream", "chain", "the solution of the chain: "),
    ],
)
async def test_a_step_that_fails_is_named(
    make_engine: MakeEngine, answers: list[Any], code: str, param: str, name: str
) -> None:
    engine = await answering(make_engine, *answers)
    end = end_of(await chain(engine, max_retries=0))
    assert (end["error"]["code"], end["error"]["param"]) == (code, param)
    assert end["error"]["message"].startswith(name)
    assert STEPS[1] not in end["error"]["message"]
    assert end["reasoning"].startswith("Users. ")


async def test_a_step_is_asked_again_and_readers_drop_what_it_had_said(make_engine: MakeEngine) -> None:
    engine = await answering(make_engine, "Users. ", {"text": "Cut", "cut": True}, *ANSWERS[1:])
    events = await chain(engine, max_retries=1)
    response = end_of(events)["response"]
    assert (response["reasoning"], response["content"]) == ("Users. Users have orders. ", ANSWERS[2])
    assert [data["offset"] for data in of(events, "stream_start")] == [0, 0]


async def test_tools_are_for_the_solution(make_engine: MakeEngine) -> None:
    engine = await answering(
        make_engine, *ANSWERS[:2], {"text": "", "call": "clock"}, "It is noon.", tools=TOOLS
    )
    events = await chain(engine, tools=[{"name": "clock"}])
    assert [request.tool_choice and request.tool_choice.mode for request in asked(engine)] == [
        "none", "none", None, None,
    ]  # fmt: skip
    assert end_of(events)["response"]["content"] == "It is noon."
    assert len(of(events, "tool_result")) == 1


async def test_a_schema_is_of_the_solution(make_engine: MakeEngine) -> None:
    engine = await answering(make_engine, *ANSWERS[:2], "no JSON", GOOD)
    events = await chain(engine, response_schema=WANTED)
    assert [request.params.response_format is None for request in asked(engine)] == [True, True, False, False]
    response = end_of(events)["response"]
    assert (response["parsed"], response["content"]) == ({"sum": 5}, GOOD)
    assert response["reasoning"] == "Users. Users have orders. "


async def test_a_takeover_asks_for_no_step_that_is_done(make_engine: MakeEngine) -> None:
    first = await answering(make_engine, ANSWERS[0], {"waits": True})
    job = await first.submit(TASK, model="own/m", chain={"steps": STEPS})
    running = asyncio.ensure_future(first.run(job))
    async with asyncio.timeout(20):
        while "progress" not in kinds(await first.events(job)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    second = await answering(make_engine, *ANSWERS[1:])
    await first.service.drain(0)
    await running
    await second.run(job)
    events = await second.events(job)
    response = end_of(events)["response"]
    assert (response["reasoning"], response["content"]) == ("Users. Users have orders. ", ANSWERS[2])
    assert len(asked(second)) == 2


@pytest.mark.parametrize(
    ("mode", "given", "sent"),
    [
        ("creative", {}, 1.0),
        ("precise", {}, 0.2),
        ("neutral", {}, None),
        ("precise", {"temperature": 0.7}, 0.7),
    ],
)
async def test_a_mode_sets_what_the_job_does_not(
    make_engine: MakeEngine, mode: str, given: dict[str, Any], sent: float | None
) -> None:
    engine = await answering(make_engine, "ok")
    await engine.answer("?", model="own/m", mode=mode, params={**given, "seed": 7})
    assert (asked(engine)[0].params.temperature, asked(engine)[0].params.seed) == (sent, 7)


def test_a_mode_with_nothing_to_set_leaves_the_parameters() -> None:
    params = ChatParams(temperature=0.0)
    assert ChatMode.PRECISE.over(params) is params
    assert ChatMode.NEUTRAL.over(params) is params
