"""`/v1/responses` with the official `openai` package."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from tests.http_clients import http_client
from tests.integration.gateway.conftest import Stand, new_session, script
from tests.integration.gateway.here import gateway_here
from tests.integration.ledger.world import World
from tests.sdks import openai
from tests.servers import RedisServer, eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("gateway")]

WORDS = "".join(f" w{number}" for number in range(20))
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
CALLS = script(tool_calls=[{"id": "c1", "name": "look", "arguments": {"at": "ö"}}])


@pytest.fixture
def client(stand: Stand) -> Iterator[Any]:
    http = http_client()
    with openai.OpenAI(base_url=f"{stand.url}/v1", api_key=stand.key, http_client=http, timeout=30) as client:
        yield client


def test_a_response(client: Any) -> None:
    answer = client.responses.create(
        model="scripted/echo",
        input="one two three",
        instructions="Be brief.",
        metadata={"a": "b"},
        temperature=0.5,
    )
    assert (answer.status, answer.output_text, answer.model) == (
        "completed",
        "one two three",
        "scripted/echo",
    )
    assert (answer.instructions, answer.metadata, answer.temperature) == ("Be brief.", {"a": "b"}, 0.5)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (5, 3)
    assert client.responses.retrieve(answer.id) == answer
    cut = client.responses.create(model="scripted/echo", input="one two three", max_output_tokens=2)
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_a_stream(client: Any) -> None:
    prompt = script(n=20, reasoning="I count.", rate=0)
    events = list(client.responses.create(model="scripted/echo", input=prompt, stream=True))
    kinds = [event.type for event in events]
    assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert kinds[-1] == "response.completed"
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == events[-1].response.output_text == WORDS
    numbers = [event.sequence_number for event in events]
    assert numbers == list(range(len(numbers)))
    whole = client.responses.retrieve(events[-1].response.id)
    assert whole == events[-1].response
    with client.responses.stream(model="scripted/echo", input=prompt) as stream:
        assert stream.get_final_response().output_text == WORDS


def test_a_response_in_the_background_is_followed_from_anywhere(client: Any) -> None:
    first = []
    stream = client.responses.create(model="slow/echo", input=script(n=20), background=True, stream=True)
    with stream:
        for event in stream:
            first.append(event)
            if event.type == "response.output_text.delta":
                break
    begun = first[0].response
    assert [event.type for event in first[:2]] == ["response.created", "response.queued"]
    assert (begun.status, begun.background) == ("queued", True)
    with client.responses.retrieve(begun.id, stream=True, starting_after=first[-1].sequence_number) as stream:
        rest = list(stream)
    whole = list(client.responses.retrieve(begun.id, stream=True))
    assert [*first, *rest] == whole, "no event is missing and none comes twice"
    for number in (0, 1, 2, 3, len(whole) // 2, len(whole) - 2, len(whole) - 1):
        again = client.responses.retrieve(begun.id, stream=True, starting_after=number)
        assert list(again) == whole[number + 1 :]
    assert client.responses.retrieve(begun.id).output_text == WORDS


def test_a_response_that_waits_is_told_at_once_and_can_be_come_back_to(stand: Stand, client: Any) -> None:
    session_id = new_session()
    stand.client.submit("Hi", session_id=session_id, tenant="acme").result(timeout=20)
    headers = {"x-palaver-session": session_id}
    blocking = script(endless=True, rate=20)
    running = client.responses.create(input=blocking, background=True, extra_headers=headers)
    with client.responses.create(input="Hi", background=True, stream=True, extra_headers=headers) as stream:
        created = next(iter(stream))
    assert (created.type, created.response.status) == ("response.created", "queued")
    assert client.responses.retrieve(created.response.id).status == "queued"
    client.responses.cancel(running.id)
    told = list(client.responses.retrieve(created.response.id, stream=True, starting_after=0))
    assert told[-1].response.output_text == "Hi"


def test_a_response_that_fails_before_its_first_word(client: Any) -> None:
    with client.responses.stream(model="scripted/status-401", input="Hi") as told:
        assert [event.type for event in told] == ["response.created", "response.failed"]
    (*_, last) = client.responses.create(model="scripted/status-401", input="Hi", stream=True)
    assert last.response.error.message


def test_what_was_asked_is_told_again(client: Any) -> None:
    form = {"type": "json_schema", "name": "tea", "schema": {"type": "object"}}
    kept = client.responses.create(
        model="scripted/echo",
        input=script(text="{}"),
        text={"format": form, "verbosity": "low"},
        max_output_tokens=9,
    )
    assert kept.store is True
    assert (kept.text.format.name, kept.text.format.type, kept.text.verbosity) == (
        "tea",
        "json_schema",
        "low",
    )
    assert client.responses.retrieve(kept.id).text == kept.text


def test_a_response_that_is_not_to_be_stored_is_shown_to_nobody(client: Any) -> None:
    answer = client.responses.create(model="scripted/echo", input="Hi", store=False)
    assert (answer.store, answer.output_text) == (False, "Hi")
    for call in (client.responses.retrieve, client.responses.cancel, client.responses.delete):
        with pytest.raises(openai.NotFoundError):
            call(answer.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(input="Hi", previous_response_id=answer.id)


def test_a_response_is_deleted(stand: Stand, client: Any) -> None:
    answer = client.responses.create(model="scripted/echo", input="Hi")
    other: Any = openai.OpenAI(
        base_url=f"{stand.url}/v1",
        api_key=stand.make_key(tenant="other"),
        http_client=http_client(),
    )
    with pytest.raises(openai.NotFoundError):
        other.responses.delete(answer.id)
    client.responses.delete(answer.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)
    first = client.responses.create(model="scripted/echo", input="one")
    client.responses.create(model="scripted/echo", input="two", previous_response_id=first.id)
    with pytest.raises(openai.ConflictError):
        client.with_options(max_retries=0).responses.delete(first.id)


def test_a_response_is_not_deleted_with_what_was_said_before_it(redis_server: RedisServer) -> None:
    """Its jobs are forgotten, and the session has this one alone; the messages are kept for longer."""
    world = World(redis_server, retention=1.0)
    session_id = new_session()
    first = world.submit(session_id, "Where was I?", tenant="acme")
    world.claim(first)
    world.finish(first, history=[b'{"role":"user","content":"Where was I?"}'])
    assert eventually(lambda: not world.raw.exists(world.keys.jobs(session_id)))
    body = {"model": "scripted/echo", "input": "Hi", "background": True}
    with gateway_here(world.settings) as here, here.http() as http:
        answer = http.post("/v1/responses", json=body, headers={"x-palaver-session": session_id}).json()
        assert http.delete(f"/v1/responses/{answer['id']}").status_code == 409
        said = http.get(f"/sessions/{session_id}/messages").json()["items"]
        assert said[0]["content"] == "Where was I?"
        alone = http.post("/v1/responses", json=body).json()
        assert http.delete(f"/v1/responses/{alone['id']}").json()["deleted"] is True
        assert http.get(f"/v1/responses/{alone['id']}").status_code == 404
    world.close()


def test_what_a_response_was_asked_with(client: Any) -> None:
    said = [{"role": "user", "content": f"word {number}"} for number in range(3)]
    answer = client.responses.create(model="scripted/echo", input=said)
    items = list(client.responses.input_items.list(answer.id, limit=2))
    assert [item.content[0].text for item in items] == ["word 2", "word 1", "word 0"]
    first = client.responses.input_items.list(answer.id, limit=2, order="asc")
    assert (first.has_more, [item.content[0].text for item in first.data]) == (True, ["word 0", "word 1"])
    with pytest.raises(openai.BadRequestError):
        client.responses.input_items.list(answer.id, after="msg_none")
    counted = client.responses.input_tokens.count(model="scripted/echo", input=said)
    assert counted.input_tokens > 3
    with pytest.raises(openai.NotFoundError):
        client.responses.input_tokens.count(model="nonsense/zz", input=said)


def test_a_response_is_cancelled(client: Any) -> None:
    begun = client.responses.create(
        model="scripted/echo", input=script(endless=True, rate=50), background=True
    )
    assert client.responses.cancel(begun.id).status == "cancelled"
    assert client.responses.retrieve(begun.id).status == "cancelled"
    (*_, last) = client.responses.retrieve(begun.id, stream=True)
    assert (last.type, last.response.status) == ("response.failed", "cancelled")


def test_who_leaves_cancels_what_he_said_so_of(stand: Stand) -> None:
    body = {"model": "slow/numbers", "input": script(endless=True, rate=20), "stream": True}
    left = {}
    for headers in ({}, {"x-palaver-on-disconnect": "cancel"}):
        with stand.http() as http, http.stream("POST", "/v1/responses", json=body, headers=headers) as events:
            next(events.iter_lines())
            left[events.headers["x-palaver-job"]] = headers
    goes_on, cancelled = left
    assert eventually(lambda: stand.client.view(cancelled).status == "cancelled")
    assert not stand.client.view(goes_on).status.ended
    stand.client.job(goes_on).cancel()


def test_one_goes_on_where_another_ended(stand: Stand, client: Any) -> None:
    first = client.responses.create(model="scripted/echo", input="one")
    second = client.responses.create(model="scripted/echo", input="two", previous_response_id=first.id)
    branch = client.responses.create(model="scripted/echo", input="three", previous_response_id=first.id)
    assert (second.previous_response_id, second.output_text) == (first.id, "two")
    assert (branch.usage.input_tokens, branch.output_text) == (3, "three"), "it knows nothing of the second"
    third = client.responses.create(model="scripted/echo", input="four", previous_response_id=second.id)
    assert third.usage.input_tokens == 5
    running = client.responses.create(
        model="scripted/echo", input=script(endless=True, rate=9), background=True
    )
    with pytest.raises(openai.ConflictError):
        client.with_options(max_retries=0).responses.create(input="x", previous_response_id=running.id)
    client.responses.cancel(running.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(input="x", previous_response_id="resp_none")


def test_tools_are_called_and_answered(client: Any) -> None:
    answer = client.responses.create(model="scripted/echo", input=CALLS, tools=[TOOL])
    (call,) = answer.output
    assert (call.type, call.call_id, call.name, call.arguments) == (
        "function_call",
        "c1",
        "look",
        '{"at":"ö"}',
    )
    (*_, last) = client.responses.create(model="scripted/echo", input=CALLS, tools=[TOOL], stream=True)
    assert last.response.output == answer.output
    result = [{"type": "function_call_output", "call_id": "c1", "output": "a tree"}]
    after = client.responses.create(
        model="scripted/echo", input=result, previous_response_id=answer.id, tools=[TOOL]
    )
    assert after.output_text == "a tree"
    said = [{"role": "user", "content": CALLS}, call.model_dump(), *result]
    assert client.responses.create(model="scripted/echo", input=said, tools=[TOOL]).output_text == "a tree"


class Tea(BaseModel):
    price: float


def test_a_format(client: Any) -> None:
    answer = client.responses.parse(
        model="scripted/echo", input=script(text='{"price": 2.5}'), text_format=Tea
    )
    assert answer.output_parsed == Tea(price=2.5)


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"model": "nobody/x"}, "NotFoundError", "model"),
        ({"temperature": 9}, "BadRequestError", "temperature"),
        ({"input": []}, "BadRequestError", "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "BadRequestError", "input[0].type"),
        ({"max_output_tokens": 0}, "BadRequestError", "max_output_tokens"),
        ({"tools": [{"type": "web_search"}]}, "BadRequestError", "tools[0].type"),
        ({"model": "scripted/status-401"}, "InternalServerError", None),
    ],
)  # fmt: skip
def test_errors(client: Any, fields: dict[str, Any], kind: str, param: str | None) -> None:
    with pytest.raises(getattr(openai, kind)) as refused:
        client.responses.create(**{"model": "scripted/echo", "input": "Hi", **fields})
    assert refused.value.param == param


def test_what_fails_in_the_background_says_so(client: Any) -> None:
    begun = client.responses.create(model="scripted/status-401", input="Hi", background=True)
    assert eventually(lambda: client.responses.retrieve(begun.id).status == "failed")
    assert client.responses.retrieve(begun.id).error.code == "server_error"


def test_anothers_response_is_none(stand: Stand, client: Any) -> None:
    theirs = client.responses.create(model="scripted/echo", input="Hi")
    http = http_client()
    key = stand.make_key(tenant="other")
    other: Any = openai.OpenAI(base_url=f"{stand.url}/v1", api_key=key, http_client=http, max_retries=0)
    calls: list[Callable[[str], Any]] = [
        lambda name: other.responses.retrieve(name),
        lambda name: other.responses.cancel(name),
        lambda name: other.responses.create(input="x", previous_response_id=name),
    ]
    for call in calls:
        unknown = "resp_01900000-0000-7000-8000-000000000000"
        with pytest.raises(openai.NotFoundError) as found:
            call(theirs.id)
        with pytest.raises(openai.NotFoundError) as missing:
            call(unknown)
        assert str(found.value).replace(theirs.id[5:], unknown[5:]) == str(missing.value)
