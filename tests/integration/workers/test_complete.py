"""Truncated answers that go on: several requests, one answer."""

import asyncio
import json
from typing import Any

import pytest

from palaver.producer.outcome import response_of
from palaver.shared.errors import ChatIncompleteResponseError
from palaver.shared.jobs import Status
from palaver.workers.providers import GenerationRequest
from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.integration.workers.doubles import PREFIX, Truncating
from tests.integration.workers.test_engine import KeptPost, end_of, kinds
from tests.integration.workers.user_tools import numbered

pytestmark = pytest.mark.redis

TOOLS = "tests.integration.workers.user_tools"
WORDS = "".join(f" w{n}" for n in range(10))


def offsets(events: list[dict[str, Any]]) -> list[int]:
    return [event["data"]["offset"] for event in events if event["type"] == "stream_start"]


async def test_a_truncated_answer_goes_on_until_it_is_whole(engine: Engine) -> None:
    usage = {"input_tokens": 3, "output_tokens": 4}
    script = {"n": 10, "usage": usage}
    events = await engine.answer(script, complete=True, params={"max_tokens": 4})
    response = end_of(events)["response"]
    assert response["content"] == text_of(events) == WORDS
    assert response["finish_reason"] == end_of(events)["finish_reason"] == "stop"
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (9, 12)
    assert response["metadata"]["continues"] == 2
    assert offsets(events) == [0]
    told = [event["data"] for event in events if event["type"] == "progress"]
    assert [(data["done"], data["total"]) for data in told] == [(1, 5), (2, 5)]
    messages = [json.loads(message) for message in await engine.ledger.messages("s1")]
    assert [message["content"] for message in messages[1:]] == [WORDS]


async def test_an_answer_that_is_whole_is_not_continued(engine: Engine) -> None:
    events = await engine.answer({"n": 10}, complete=True)
    assert "progress" not in kinds(events)
    assert "continues" not in end_of(events)["response"]["metadata"]


@pytest.mark.parametrize("most", [0, 1])
async def test_what_is_still_truncated_is_an_error_with_the_partial_text(engine: Engine, most: int) -> None:
    complete = {"max_continues": most}
    job = await engine.submit({"n": 10}, complete=complete, params={"max_tokens": 2})
    await engine.run(job)
    end = end_of(await engine.events(job))
    said = "".join(f" w{n}" for n in range(2 + 2 * most))
    assert (end["status"], end["error"]["type"]) == ("failed", "ChatIncompleteResponseError")
    assert end["error"]["details"] == {"continue_count": most, "max_continues": most}
    assert (end["text"], end["finish_reason"]) == (said, "length")
    with pytest.raises(ChatIncompleteResponseError) as raised:
        response_of(await engine.ledger.job(job.job_id))
    result = raised.value.final_result
    assert (raised.value.continue_count, raised.value.max_continues) == (most, most)
    assert (result.content, result.finish_reason) == (said, "length")


async def test_what_is_still_truncated_may_be_enough(engine: Engine) -> None:
    complete = {"max_continues": 1, "ensure_complete": False}
    end = end_of(await engine.answer({"n": 10}, complete=complete, params={"max_tokens": 2}))
    assert (end["status"], end["finish_reason"]) == ("completed", "length")
    assert end["response"]["content"] == " w0 w1 w2 w3"


@pytest.mark.parametrize(("policy", "status"), [("raise", "failed"), ("return_partial", "completed")])
async def test_a_continue_that_fails_ends_as_the_job_says(engine: Engine, policy: str, status: str) -> None:
    broken = {"deltas": [" more"], "fail": {"status": 400, "kind": "error", "after": 1}}
    script = {"rounds": [{"deltas": ["half"], "finish_reason": "length"}, broken]}
    events = await engine.answer(script, complete={"on_error": policy}, max_retries=0)
    end = end_of(events)
    assert end["status"] == status
    assert text_of(events) == "half more"
    if status == "completed":
        assert (end["finish_reason"], end["response"]["content"]) == ("length", "half more")
        assert [e["data"]["code"] for e in events if e["type"] == "warning"] == ["continue_failed"]
    else:
        assert (end["error"]["type"], end["text"]) == ("ValidationError", "half more")


async def test_a_first_request_that_fails_is_no_partial_answer(engine: Engine) -> None:
    script = {"n": 3, "fail": {"status": 400, "kind": "error", "after": 2}}
    end = end_of(await engine.answer(script, complete={"on_error": "return_partial"}, max_retries=0))
    assert (end["status"], end["text"]) == ("failed", " w0 w1")


async def test_every_request_has_what_was_asked_and_what_was_said(make_engine: MakeEngine) -> None:
    engine = await make_engine(profiles={"truncating": {"kind": PREFIX + "Truncating"}})
    tool = {"name": "look", "description": "Looks."}
    await engine.answer(
        "Count.",
        model="truncating/m",
        system="Be exact.",
        complete={"continue_prompt": "Go on."},
        params={"temperature": 0.5},
        tools=[tool],
        reasoning=True,
    )
    asked = engine.provider("truncating", Truncating).asked
    turns = ["assistant 1", "user Go on.", "assistant 2", "user Go on."]
    said: list[list[str]] = [[f"{m.role} {m.text}" for m in request.messages] for request in asked]
    assert said == [["system Be exact.", "user Count.", *turns[:n]] for n in (0, 2, 4)]
    assert len({_rest(request) for request in asked}) == 1


def _rest(request: GenerationRequest) -> str:
    return repr((request.params, request.tools, request.reasoning, request.model))


@pytest.mark.parametrize("seconds", [3.1, (3.05, 3.1)])
async def test_a_long_delay_holds_no_slot_and_comes_never_before_the_first_continue(
    engine: Engine, seconds: Any
) -> None:
    complete = {"continue_delay": seconds}
    job = await engine.submit({"n": 10}, complete=complete, params={"max_tokens": 4})
    assert (await engine.run(job)).reason == "parked"
    view = await engine.ledger.job(job.job_id)
    assert (view.status, view.text, engine.service.running) == (Status.RUNNING, WORDS[: len(" w0") * 8], 0)
    assert [event["type"] for event in await engine.events(job)].count("progress") == 2
    post = KeptPost()
    await engine.service.serve(post)
    async with asyncio.timeout(30):
        while (await post.sent.get()).job_id != job.job_id:
            pass
    assert (await engine.run(job)).status is Status.COMPLETED
    events = await engine.events(job)
    assert offsets(events) == [0, 24]
    assert end_of(events)["response"]["content"] == text_of(events) == WORDS
    assert end_of(events)["response"]["metadata"]["continues"] == 2


@pytest.mark.parametrize("model", ["slow/echo", "slowagain/echo"])
async def test_a_takeover_goes_on_behind_the_finished_requests(make_engine: MakeEngine, model: str) -> None:
    def profiles(rate: int) -> dict[str, Any]:
        slow = {"kind": "scripted", "options": {"rate": rate}}
        return {"slow": slow, "slowagain": slow | {"resume": "restart"}}

    # It would take the old one four seconds, three of them after it is looked at.
    old, new = await make_engine(profiles=profiles(12)), await make_engine(profiles=profiles(0))
    job = await old.submit({"n": 49}, model=model, complete=True, params={"max_tokens": 10})
    running = asyncio.create_task(old.run(job))
    async with asyncio.timeout(20):
        while len((await old.ledger.job(job.job_id)).text.split()) < 13:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await old.service.drain(0)
    assert (await running).reason == "released"
    assert (await new.run(job)).status is Status.COMPLETED
    events = await new.events(job)
    assert end_of(events)["response"]["content"] == text_of(events) == "".join(f" w{n}" for n in range(49))
    assert kinds(events).count("progress") == 4  # no request was asked again that had ended
    assert (offsets(events)[-1] == 0) == (model == "slowagain/echo")


async def test_thoughts_are_kept_and_not_doubled(make_engine: MakeEngine) -> None:
    scripted = {"kind": "scripted", "resume": "restart", "options": {"rate": 0}}
    engine = await make_engine(profiles={"scripted": scripted})
    cut = {"reasoning": "Second.", "text": "two", "fail": {"kind": "cut", "after": 1, "times": 1}}
    script = {"rounds": [{"reasoning": "First.", "text": "one", "finish_reason": "length"}, cut]}
    events = await engine.answer(script, complete=True)
    assert offsets(events) == [0, 0]
    response = end_of(events)["response"]
    assert (response["content"], response["reasoning"]) == ("onetwo", "First.Second.")
    assert text_of(events) == "onetwo"
    thoughts = [event["data"]["delta"] for event in events if event["type"] == "reasoning_chunk"]
    assert thoughts == ["First.", "Second.", "First.", "Second."]


@pytest.mark.parametrize("name", ["numbered", numbered])
async def test_a_registered_function_makes_the_prompt(make_engine: MakeEngine, name: Any) -> None:
    profiles = {"truncating": {"kind": PREFIX + "Truncating"}}
    engine = await make_engine(profiles=profiles, tools=TOOLS)
    prompt = {"name": name} if isinstance(name, str) else name
    await engine.answer("Count.", model="truncating/m", complete={"continue_prompt": prompt})
    last = engine.provider("truncating", Truncating).asked[-1]
    prompts = [message.text for message in last.messages if message.role == "user"]
    assert prompts == ["Count.", "1/5 after 1 of Count.", "2/5 after 2 of Count."]


async def test_a_prompt_that_the_worker_does_not_have_is_refused_before_anything_is_asked(
    engine: Engine,
) -> None:
    end = end_of(await engine.answer({"n": 9}, complete={"continue_prompt": {"name": "numbered"}}))
    assert (end["error"]["type"], end["error"]["param"]) == ("ValidationError", "complete.continue_prompt")
    assert end["text"] == ""


@pytest.mark.parametrize(("policy", "status"), [("raise", "failed"), ("return_partial", "completed")])
async def test_a_prompt_that_fails_fails_its_continue(
    make_engine: MakeEngine, policy: str, status: str
) -> None:
    engine = await make_engine(tools=TOOLS)
    complete = {"continue_prompt": {"name": "faulty"}, "on_error": policy}
    events = await engine.answer({"n": 9}, complete=complete, params={"max_tokens": 4})
    end = end_of(events)
    assert (end["status"], text_of(events)) == (status, " w0 w1 w2 w3")
    assert "hunter2" not in json.dumps(events)
    if status == "failed":
        assert end["error"]["type"] == "ConfigurationError"
        assert end["error"]["message"] == "the continue prompt 'faulty' raised RuntimeError"


@pytest.mark.parametrize("cut", range(1, 40, 4))
async def test_json_that_was_cut_anywhere_is_json_in_the_end(engine: Engine, cut: int) -> None:
    document = json.dumps({"name": "Zoë", "list": [1, 2.5, None], "text": 'a "b"\n'}, ensure_ascii=False)
    pieces = [document[start : start + cut] for start in range(0, len(document), cut)]
    truncated = [{"deltas": [piece], "finish_reason": "length"} for piece in pieces[:-1]]
    script = {"rounds": [*truncated, {"deltas": [pieces[-1]]}]}
    end = end_of(await engine.answer(script, complete={"max_continues": 99}))
    assert json.loads(end["response"]["content"]) == json.loads(document)
