"""The official `anthropic` package against the gateway: only its base_url is another one."""

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import Anthropic

from tests.integration.gateway.conftest import Stand, script

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("gateway")]

TOOL = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}
CALLS = script(tool_calls=[{"id": "c1", "name": "look", "arguments": {"at": "ö"}}])


@pytest.fixture
def client(stand: Stand) -> Iterator[Any]:
    http = httpx2.Client(trust_env=False)
    with Anthropic(base_url=stand.url, api_key=stand.key, http_client=http, timeout=30) as client:
        yield client


def asked(content: Any, **options: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": content}]
    return {"model": "scripted/echo", "max_tokens": 100, "messages": said, **options}


def test_a_message(client: Any) -> None:
    answer = client.messages.create(
        **asked("one two three", system="Be brief.", stop_sequences=["x"], extra_body={"top_k": 5})
    )
    assert [block.text for block in answer.content] == ["one two three"]
    assert (answer.role, answer.stop_reason, answer.model) == ("assistant", "end_turn", "echo")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (5, 3)
    cut = client.messages.create(**asked("one two three", max_tokens=2))
    assert (cut.stop_reason, cut.content[0].text) == ("max_tokens", "one two")


def test_a_stream(client: Any) -> None:
    prompt = script(n=20, reasoning="I count.", rate=0)
    thinking = {"type": "enabled", "budget_tokens": 1024}
    with client.messages.stream(**asked(prompt, max_tokens=2000, thinking=thinking)) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_message()
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[0].thinking == "I count."
    assert answer.content[1].text == "".join(f" w{number}" for number in range(20))
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert answer.usage.output_tokens == 22
    whole = client.messages.create(**asked(prompt, max_tokens=2000, thinking=thinking))
    assert [block.type for block in whole.content] == ["thinking", "text"]


def test_tools_are_called_and_answered(client: Any) -> None:
    answer = client.messages.create(**asked(CALLS, tools=[TOOL], tool_choice={"type": "any"}))
    (call,) = answer.content
    assert (call.type, call.id, call.name, call.input) == ("tool_use", "c1", "look", {"at": "ö"})
    assert answer.stop_reason == "tool_use"
    with client.messages.stream(**asked(CALLS, tools=[TOOL])) as stream:
        assert stream.get_final_message().content == answer.content
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "a tree"}]}
    messages = [
        {"role": "user", "content": CALLS},
        {"role": "assistant", "content": answer.model_dump()["content"]},
        {"role": "user", "content": [result]},
    ]
    after = client.messages.create(**asked("", messages=messages, tools=[TOOL]))
    assert after.content[0].text == "a tree"


def test_blocks_of_text_and_images(client: Any) -> None:
    image = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    content = [{"type": "image", "source": image}, {"type": "text", "text": "one two"}]
    assert client.messages.create(**asked(content)).content[0].text == "one two"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"model": "nobody/x"}, anthropic.NotFoundError),
        ({"extra_body": {"temperature": 9}}, anthropic.BadRequestError),
        ({"max_tokens": 0}, anthropic.BadRequestError),
        ({"messages": []}, anthropic.BadRequestError),
        ({"messages": [{"role": "nobody", "content": "Hi"}]}, anthropic.BadRequestError),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, anthropic.BadRequestError),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, anthropic.BadRequestError),
        ({"tool_choice": {"type": "some"}}, anthropic.BadRequestError),
        ({"model": "scripted/status-401"}, anthropic.InternalServerError),
    ],
)  # fmt: skip
def test_errors_are_of_their_own_classes(
    client: Any, stream: bool, fields: dict[str, Any], kind: type[anthropic.APIStatusError]
) -> None:
    with pytest.raises(kind) as refused:
        client.messages.create(**{**asked("Hi", stream=stream), **fields})
    body = refused.value.body
    assert isinstance(body, dict)
    assert body["type"] == "error"
    assert body["error"]["message"]


def test_an_error_in_the_middle_of_a_stream(client: Any) -> None:
    prompt = script(n=9, rate=0, fail={"kind": "status", "status": 400, "after": 3, "message": "no more"})
    words: list[str] = []
    with (
        client.messages.stream(**asked(prompt)) as stream,
        pytest.raises(anthropic.APIError, match="no more"),
    ):
        words.extend(stream.text_stream)


def test_who_has_no_key(stand: Stand) -> None:
    http = httpx2.Client(trust_env=False)
    client = Anthropic(base_url=stand.url, api_key="sk-none", http_client=http)
    with pytest.raises(anthropic.AuthenticationError):
        client.messages.create(**asked("Hi"))
    limited = stand.make_key(tenant="acme", requests_per_minute=1)
    client = Anthropic(base_url=stand.url, api_key=limited, http_client=http, max_retries=0)
    client.messages.create(**asked("Hi"))
    with pytest.raises(anthropic.RateLimitError):
        client.messages.create(**asked("Hi"))


def test_models(client: Any) -> None:
    assert "scripted/echo" in [model.id for model in client.models.list()]
