"""Answers that have to fit a schema: checked, asked for again once, and typed at the end."""

import asyncio
from typing import Any

import orjson
import pytest

from palaver.shared.accumulator import Accumulator
from palaver.shared.events import parse_event
from palaver.shared.jobs import ChatJob
from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.integration.workers.doubles import PREFIX, Answering
from tests.integration.workers.test_engine import end_of, kinds
from tests.integration.workers.test_tools import TOOLS, messages, of
from tests.model_server import ModelServer

pytestmark = pytest.mark.redis

SCHEMA = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
WANTED = {"json_schema": SCHEMA}
GOOD = '{"sum": 5}'
BAD = '{"sum": "s3cr3t words"}'


async def answering(make_engine: MakeEngine, *answers: Any, schema: bool = True, **values: Any) -> Engine:
    options = {"answers": list(answers), "schema": schema}
    profiles = {"own": {"kind": PREFIX + "Answering", "options": options}}
    return await make_engine(profiles=profiles, lease_seconds=60, renew_seconds=20, **values)


async def ask(engine: Engine, **fields: Any) -> list[dict[str, Any]]:
    return await engine.answer("What is 2 + 3?", model="own/m", **({"response_schema": WANTED} | fields))


def asked(engine: Engine) -> list[Any]:
    return engine.provider("own", Answering).asked


def chunks_of(events: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    """What a reader of the stream gets: deltas, and where it has to drop what it has."""
    state = Accumulator()
    return [(c.delta, c.reset) for event in events for c in state.feed(parse_event(event)) if not c.done]


async def test_an_answer_that_fits_has_its_value(make_engine: MakeEngine) -> None:
    engine = await answering(make_engine, f"```json\n{GOOD}\n```")
    events = await ask(engine)
    response = end_of(events)["response"]
    assert (response["parsed"], text_of(events)) == ({"sum": 5}, f"```json\n{GOOD}\n```")
    (request,) = asked(engine)
    told = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    assert request.params.response_format == told
    assert [message.role.value for message in request.messages] == ["user"]
    assert "warning" not in kinds(events)


async def test_a_provider_without_schemas_is_told_in_the_prompt(make_engine: MakeEngine) -> None:
    engine = await answering(make_engine, GOOD, schema=False)
    events = await ask(engine, system="Be brief.")
    (warning,) = of(events, "warning")
    assert (warning["code"], warning["param"]) == ("schema_in_prompt", "response_schema")
    system = asked(engine)[0].messages[0].text
    assert system.startswith("Be brief.")
    assert orjson.dumps(SCHEMA).decode() in system
    assert end_of(events)["response"]["parsed"] == {"sum": 5}


async def test_an_answer_that_does_not_fit_is_asked_for_again(make_engine: MakeEngine) -> None:
    engine = await answering(make_engine, BAD, GOOD)
    events = await ask(engine)
    response = end_of(events)["response"]
    assert (response["content"], response["parsed"]) == (GOOD, {"sum": 5})
    assert (response["usage"]["total_tokens"], response["metadata"]["repairs"]) == (4, 1)
    _, rejected, problem = asked(engine)[1].messages
    assert rejected.text == BAD
    assert "/sum: the value is not of type" in problem.text
    assert of(events, "progress") == [{"done": 1, "total": 1, "message": "repair"}]


async def test_the_stream_says_that_a_rejected_answer_is_dropped(make_engine: MakeEngine) -> None:
    engine = await answering(make_engine, {"text": BAD, "thought": "Hm."}, GOOD)
    events = await ask(engine)
    assert text_of(events) == GOOD
    resets = [reset for _, reset in chunks_of(events)]
    assert sum(resets) == 1
    at = resets.index(True)
    said = [delta for delta, _ in chunks_of(events)]
    assert ("".join(said[:at]), "".join(said[at:])) == ("Hm." + BAD, GOOD)
    assert end_of(events)["response"].get("reasoning") is None


async def test_an_answer_that_never_fits_fails_with_its_text(make_engine: MakeEngine) -> None:
    engine = await answering(make_engine, "no JSON at all", BAD)
    job = await engine.submit("?", model="own/m", response_schema=WANTED)
    await engine.run(job)
    end = end_of(await engine.events(job))
    assert (end["status"], end["error"]["type"], end["text"]) == ("failed", "StructuredOutputError", BAD)
    assert end["error"]["details"] == {"problems": ["properties/sum/type"], "repairs": 1}
    assert "s3cr3t" not in end["error"]["message"]
    view = await engine.ledger.job(job.job_id)
    assert view.response is not None
    assert (view.response.content, view.response.parsed) == (BAD, None)
    assert len(asked(engine)) == 2
    assert await messages(engine) == []


@pytest.mark.parametrize(("repairs", "requests"), [(0, 1), (3, 4)])
async def test_the_repairs_are_as_many_as_the_job_says(
    make_engine: MakeEngine, repairs: int, requests: int
) -> None:
    engine = await answering(make_engine, BAD)
    events = await ask(engine, response_schema={**WANTED, "repairs": repairs})
    assert end_of(events)["error"]["details"]["repairs"] == repairs
    assert len(asked(engine)) == requests


async def test_an_answer_that_a_filter_has_stopped_is_not_asked_for_again(make_engine: MakeEngine) -> None:
    engine = await answering(make_engine, {"text": "{", "reason": "content_filter"})
    assert end_of(await ask(engine))["error"]["code"] == "structured_output"
    assert len(asked(engine)) == 1


async def test_a_repair_that_fails_leaves_the_rejected_text(make_engine: MakeEngine) -> None:
    engine = await answering(make_engine, BAD, {"status": 401})
    end = end_of(await ask(engine, max_retries=0))
    assert (end["error"]["code"], end["text"]) == ("authentication", BAD)


async def test_a_truncated_answer_is_continued_and_then_checked_whole(make_engine: MakeEngine) -> None:
    first, second = {"text": '{"sum"', "reason": "length"}, {"text": '{"su', "reason": "length"}
    engine = await answering(make_engine, first, ": true}", second, 'm": 5}')
    events = await ask(engine, complete=True)
    response = end_of(events)["response"]
    assert (response["content"], response["parsed"], text_of(events)) == (GOOD, {"sum": 5}, GOOD)
    told = [(message.role.value, message.text) for message in asked(engine)[2].messages]
    assert told[1:4] == [("assistant", '{"sum"'), ("user", "continue"), ("assistant", ": true}")]


async def test_tools_are_called_first_and_stay_when_the_answer_is_rejected(make_engine: MakeEngine) -> None:
    engine = await answering(make_engine, {"text": "I look.", "call": "clock"}, BAD, GOOD, tools=TOOLS)
    events = await ask(engine, tools=[{"name": "clock"}])
    response = end_of(events)["response"]
    assert (response["content"], response["parsed"]) == ("I look." + GOOD, {"sum": 5})
    assert text_of(events) == "I look." + GOOD
    state = Accumulator()
    for event in events:
        state.feed(parse_event(event))
    assert state.tool_calls == []
    assert [words for _, words in await messages(engine)][1:] == [
        ["clock"],
        '{"time":"noon","zone":"UTC"}',
        GOOD,
    ]


async def test_a_takeover_asks_no_rejected_answer_again(make_engine: MakeEngine) -> None:
    first = await answering(make_engine, BAD, {"waits": True})
    job = await first.submit("?", model="own/m", response_schema=WANTED)
    running = asyncio.ensure_future(first.run(job))
    async with asyncio.timeout(20):
        while "progress" not in kinds(await first.events(job)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    second = await answering(make_engine, GOOD)
    await first.service.drain(0)
    await running
    await second.run(job)
    events = await second.events(job)
    assert (text_of(events), end_of(events)["response"]["parsed"]) == (GOOD, {"sum": 5})
    (request,) = asked(second)
    assert [message.text for message in request.messages][:2] == ["?", BAD]
    assert request.prefix is None


async def test_a_schema_that_is_none_ends_the_job(make_engine: MakeEngine) -> None:
    """Another program may have stored it."""
    engine = await answering(make_engine, GOOD)
    job = ChatJob(messages="?", session_id="s1", model="own/m", response_schema=WANTED)
    job.response_schema.json_schema["type"] = "nothing"  # type: ignore[union-attr]
    await engine.ledger.submit(job)
    await engine.run(job)
    end = end_of(await engine.events(job))
    assert (end["error"]["code"], end["error"]["param"]) == ("invalid_request", "response_schema.json_schema")


async def test_over_http_the_schema_is_in_the_request(make_engine: MakeEngine, server: ModelServer) -> None:
    profiles = {"http": {"kind": "openai", "base_url": server.openai_url}}
    engine = await make_engine(profiles=profiles)
    closed = {**SCHEMA, "additionalProperties": False}
    await engine.answer("?", model="http/m", response_schema={"json_schema": closed, "name": "total"})
    assert server.last()["body"]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "total", "schema": closed, "strict": True},
    }


async def test_a_server_without_schemas_gets_words_and_a_json_object(
    make_engine: MakeEngine, server: ModelServer
) -> None:
    profiles = {"http": {"kind": "openai", "base_url": server.openai_url, "options": {"flavour": "deepseek"}}}
    engine = await make_engine(profiles=profiles)
    events = await engine.answer("?", model="http/m", response_schema=WANTED)
    body = server.last()["body"]
    assert body["response_format"] == {"type": "json_object"}
    assert orjson.dumps(SCHEMA).decode() in body["messages"][0]["content"]
    assert [data["param"] for data in of(events, "warning")] == ["response_schema", "response_format"]
