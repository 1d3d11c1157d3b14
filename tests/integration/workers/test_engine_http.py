"""Jobs through the engine from a model server in another process, over HTTP."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from palaver.shared.jobs import ChatJob, Status
from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.model_server import ModelServer
from tests.servers import eventually

pytestmark = pytest.mark.redis

PIECES = ["Grüße ", "日", "本", "👩", "\u200d", "🚀", "e", "\u0301", " \n\t", '"quoted\\"', "\u2028", "</s>"]


@pytest.fixture
async def engine(server: ModelServer, make_engine: MakeEngine) -> Engine:
    profiles = {
        "openai": {"kind": "openai", "base_url": server.openai_url},
        "prefix": {"kind": "openai", "base_url": server.openai_url, "resume": "prefix"},
        "restart": {"kind": "openai", "base_url": server.openai_url, "resume": "restart"},
        "claude": {"kind": "anthropic", "base_url": server.origin},
        "nobody": {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"},
    }
    return await make_engine(profiles=profiles, lease_seconds=60, renew_seconds=20)


async def test_text_is_equal_byte_for_byte(engine: Engine) -> None:
    events = await engine.answer({"deltas": PIECES, "rate": 500}, model="openai/m")
    assert events[-1]["data"]["response"]["content"] == text_of(events) == "".join(PIECES)


async def test_a_job_whose_worker_link_is_cut_again_and_again(engine: Engine) -> None:
    job = await engine.submit({"n": 150, "rate": 300}, model="openai/m")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    while not running.done():
        engine.kill_connections()
        await asyncio.sleep(0.03)
    events = await engine.events(job)
    assert text_of(events) == "".join(f" w{n}" for n in range(150))


FAILURES: list[tuple[dict[str, Any], str, str]] = [
    ({"status": 401}, "AuthenticationError", ""),
    ({"status": 404}, "NotFoundError", ""),
    ({"status": 429}, "RateLimitError", ""),
    ({"status": 500}, "ServerError", ""),
    ({"kind": "cut", "after": 3}, "StreamInterruptedError", " w0 w1 w2"),
    ({"kind": "eof", "after": 3}, "StreamInterruptedError", " w0 w1 w2"),
    ({"kind": "garbage", "after": 3}, "MalformedStreamError", " w0 w1 w2"),
    ({"kind": "idle", "after": 3}, "TimeoutError", " w0 w1 w2"),
]


@pytest.mark.parametrize(("fail", "error", "partial"), FAILURES)
async def test_failures_of_a_server_end_the_job_with_the_partial_text(
    engine: Engine, fail: dict[str, Any], error: str, partial: str
) -> None:
    job = await engine.submit(
        {"n": 9, "rate": 200, "fail": fail}, model="restart/m", max_retries=0, timeouts={"read": 3}
    )
    outcome = await engine.run(job)
    end = (await engine.events(job))[-1]["data"]
    assert outcome.status is Status.FAILED
    assert (end["error"]["type"], end["error"]["provider"]) == (error, "restart")
    assert end["text"] == partial


async def test_nobody_listens(engine: Engine) -> None:
    end = (await engine.answer("hello", model="nobody/m", max_retries=0))[-1]["data"]
    assert (end["status"], end["error"]["type"]) == ("failed", "ConnectionError")


@pytest.mark.parametrize(("profile", "offsets"), [("prefix", [0, 9]), ("restart", [0, 0])])
async def test_a_cut_stream_goes_on_without_losing_or_repeating_a_word(
    engine: Engine, profile: str, offsets: list[int]
) -> None:
    script = {"n": 9, "rate": 200, "fail": {"kind": "cut", "after": 3, "times": 1}}
    events = await engine.answer(script, model=f"{profile}/m")
    assert [e["data"]["offset"] for e in events if e["type"] == "stream_start"] == offsets
    assert events[-1]["data"]["response"]["content"] == text_of(events) == "".join(f" w{n}" for n in range(9))


async def test_cancel_closes_the_connection_to_the_provider(engine: Engine, server: ModelServer) -> None:
    job = await engine.submit({"n": 3, "fail": {"kind": "idle", "after": 2}}, model="openai/m")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    await engine.ledger.cancel("s1", job.job_id)
    assert (await running).status is Status.CANCELLED
    closed: Callable[[], bool] = lambda: server.stats()["open"] == 0  # noqa: E731
    assert await asyncio.to_thread(eventually, closed)


async def test_signed_thinking_goes_back_with_the_results_of_the_calls(
    engine: Engine, server: ModelServer
) -> None:
    call = {"id": "c1", "name": "weather", "arguments": {"city": "Bern"}}
    fields: dict[str, Any] = {
        "model": "claude/claude-sonnet-4-5",
        "tools": [{"name": "weather"}],
        "reasoning": True,
        "history": "session",
    }
    events = await engine.answer({"n": 0, "reasoning": "let me see", "tool_calls": [call]}, **fields)
    assert events[-1]["data"]["response"]["tool_calls"] == [call]
    result = {"role": "tool", "tool_call_id": "c1", "content": "rain"}
    job = ChatJob(messages=[result], session_id="s1", **fields)
    await engine.ledger.submit(job)
    await engine.run(job)
    asked = server.last()["body"]
    thinking = {"type": "thinking", "thinking": "let me see", "signature": "c2ln"}
    assert asked["messages"][1]["content"][0] == thinking
    assert asked["messages"][1]["content"][1]["type"] == "tool_use"


@pytest.mark.parametrize(
    ("model", "offsets"), [("claude-sonnet-4-5", [0, len(" w0 w1 w2")]), ("claude-opus-5", [0, 0])]
)
async def test_a_cut_answer_goes_on_where_the_model_takes_a_prefix(
    engine: Engine, model: str, offsets: list[int]
) -> None:
    script = {"n": 9, "fail": {"kind": "cut", "after": 3, "times": 1}}
    events = await engine.answer(script, model=f"claude/{model}", max_retries=1)
    begun = [event["data"]["offset"] for event in events if event["type"] == "stream_start"]
    assert begun == offsets
    assert text_of(events) == "".join(f" w{n}" for n in range(9))


@pytest.mark.parametrize("name", ["meta-llama/llama-3:free", "llama3:8b", "/models/x.gguf", "@cf/meta/llama"])
@pytest.mark.parametrize("profile", ["openai", "claude"])
async def test_a_models_name_arrives_as_it_is(
    engine: Engine, server: ModelServer, profile: str, name: str
) -> None:
    end = (await engine.answer({"n": 1}, model=f"{profile}/{name}"))[-1]["data"]
    assert server.last()["body"]["model"] == name
    assert (end["response"]["provider"], end["response"]["model"]) == (profile, name)


PARAMS: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 100,
    "stop": ["END"],
    "presence_penalty": 1,
    "frequency_penalty": -1,
    "logit_bias": {"50256": -100},
    "user": "u",
    "n": 3,
}


async def test_every_parameter_arrives_and_the_other_answers_are_in_the_metadata(
    engine: Engine, server: ModelServer
) -> None:
    params = {**PARAMS, "logit_bias": {50256: -100}, "extra": {"min_p": 0.1, "top_p": 0.8}}
    end = (await engine.answer({"n": 1}, model="openai/m", params=params))[-1]["data"]
    body = server.last()["body"]
    assert {name: body[name] for name in PARAMS} == PARAMS
    assert body["min_p"] == 0.1
    assert "stream" not in body
    others = end["response"]["metadata"]["choices"]
    assert [choice["index"] for choice in others] == [1, 2]
    assert end["response"]["content"] == " w0"


async def test_what_a_dialect_cannot_do_is_an_event(engine: Engine) -> None:
    events = await engine.answer({"n": 1}, model="claude/m", params=PARAMS)
    warned = [event["data"]["param"] for event in events if event["type"] == "warning"]
    assert warned == ["presence_penalty", "frequency_penalty", "logit_bias", "n"]
    assert events[-1]["data"]["status"] == "completed"


@pytest.mark.parametrize("profile", ["openai", "claude"])
async def test_the_providers_own_words_are_kept_only_if_asked_for(engine: Engine, profile: str) -> None:
    raw = await engine.answer({"n": 2}, model=f"{profile}/m", params={"return_raw": True})
    assert raw[-1]["data"]["response"]["raw"]["model"] == "m"
    plain = await engine.answer({"n": 2}, model=f"{profile}/m")
    assert plain[-1]["data"]["response"].get("raw") is None
    assert not any("raw" in event["data"] for event in plain)
    events = await engine.answer({"n": 2}, model=f"{profile}/m", params={"return_raw_events": True})
    chunks = [event["data"] for event in events if event["type"] == "text_chunk"]
    assert all(isinstance(chunk["raw"], dict | list) for chunk in chunks)
    assert chunks


async def test_own_words_that_are_too_many_are_left_out_with_a_warning(engine: Engine) -> None:
    long = {"n": 1, "pad": 100_000}
    events = await engine.answer(long, model="openai/m", params={"return_raw_events": True})
    assert [event["data"]["code"] for event in events if event["type"] == "warning"] == ["raw_left_out"]
    assert text_of(events) == " w0"


async def test_usage_is_not_asked_for_if_it_is_not_wanted(engine: Engine, server: ModelServer) -> None:
    await engine.answer({"n": 1}, model="openai/m", params={"include_usage": False})
    assert "stream_options" not in server.last()["body"]
