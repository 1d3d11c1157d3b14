"""The official `anthropic` package against the gateway: only its base_url is another one."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest

from tests.http_clients import http_client
from tests.integration.gateway.conftest import Stand, new_session, script
from tests.sdks import anthropic

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("gateway")]

TOOL = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}
PDF = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
}
CALLS = script(tool_calls=[{"id": "c1", "name": "look", "arguments": {"at": "ö"}}])


@pytest.fixture
def client(stand: Stand) -> Iterator[Any]:
    http = http_client()
    with anthropic.Anthropic(base_url=stand.url, api_key=stand.key, http_client=http, timeout=30) as client:
        yield client


def asked(content: Any, **options: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": content}]
    return {"model": "scripted/echo", "max_tokens": 100, "messages": said, **options}


def test_a_message(client: Any) -> None:
    answer = client.messages.create(
        **asked("one two three", system="Be brief.", stop_sequences=["x"], extra_body={"top_k": 5})
    )
    assert [block.text for block in answer.content] == ["one two three"]
    assert (answer.role, answer.stop_reason, answer.model) == (
        "assistant",
        "end_turn",
        "scripted/echo",
    )
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (5, 3)
    cut = client.messages.create(**asked("one two three", max_tokens=2))
    assert (cut.stop_reason, cut.content[0].text) == ("max_tokens", "one two")


def test_a_stream(client: Any) -> None:
    prompt = script(n=20, reasoning="I count.", signature="SIG==", rate=0)
    thinking = {"type": "enabled", "budget_tokens": 1024}
    with client.messages.stream(**asked(prompt, max_tokens=2000, thinking=thinking)) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_message()
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert (answer.content[0].thinking, answer.content[0].signature) == ("I count.", "SIG==")
    assert answer.content[1].text == "".join(f" w{number}" for number in range(20))
    raw = [kind for kind in kinds if kind not in ("text", "thinking", "signature")]  # the package's own
    assert [kind for kind, _ in groupby(raw)] == [
        "message_start",
        *("content_block_start", "content_block_delta", "content_block_stop") * 2,
        "message_delta",
        "message_stop",
    ]
    assert answer.usage.output_tokens == 22
    whole = client.messages.create(**asked(prompt, max_tokens=2000, thinking=thinking))
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert whole.content[0] == answer.content[0]


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


def test_a_tool_round_with_thinking(stand: Stand, client: Any) -> None:
    prompt = script(reasoning="I look.", signature="SIG==", tool_calls=[{"id": "c1", "name": "look"}])
    thinking = {"type": "enabled", "budget_tokens": 1024}
    options: dict[str, Any] = {"tools": [TOOL], "thinking": thinking, "max_tokens": 2000}
    with client.messages.stream(**asked(prompt, **options)) as stream:
        answer = stream.get_final_message()
    assert client.messages.create(**asked(prompt, **options)).content == answer.content
    assert [block.type for block in answer.content] == ["thinking", "tool_use"]
    assert answer.content[0].signature == "SIG=="
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    result = {"type": "tool_result", "tool_use_id": "c1", "is_error": True, "content": [image]}
    messages = [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [result, {"type": "text", "text": "So?"}]},
    ]
    after = client.messages.with_raw_response.create(**asked("", **options, messages=messages))
    job = stand.client.view(after.headers["x-palaver-job"], document=True).document
    assert job is not None
    called, answered, _ = job.messages[1:]
    assert (called.model_extra or {})["thinking_blocks"] == [answer.content[0].model_dump(exclude_none=True)]
    assert answered.metadata == {"is_error": True}


def test_a_tool_round_through_anthropics_own_api(stand: Stand, client: Any) -> None:
    """The worker's provider is this gateway again: what one side says the other has to understand."""
    itself = stand.client.seal({"kind": "anthropic", "base_url": stand.url, "api_key": stand.key})
    model = f"{itself}/scripted/echo"
    stand.client.submit("Hi", model=model).result(timeout=20)  # which has the profile kept
    counts = {"input_tokens": 47, "output_tokens": 2, "details": {"cache_read_input_tokens": 40}}
    call = {"id": "toolu_1", "name": "look", "arguments": {"at": "ö"}}
    prompt = script(reasoning="I look.", signature="SIG==", tool_calls=[call], usage=counts)
    thinking = {"type": "enabled", "budget_tokens": 1024}
    options: dict[str, Any] = {"model": model, "tools": [TOOL], "thinking": thinking, "max_tokens": 2000}
    with client.messages.stream(**{**asked(prompt), **options}) as stream:
        answer = stream.get_final_message()
    assert [block.type for block in answer.content] == ["thinking", "tool_use"]
    assert (answer.content[0].thinking, answer.content[0].signature) == ("I look.", "SIG==")
    assert (answer.model, answer.stop_reason, answer.content[1].input) == (model, "tool_use", {"at": "ö"})
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens) == (7, 40)
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a tree"}
    messages = [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [result]},
    ]
    after = client.messages.with_raw_response.create(**{**options, "messages": messages})
    assert after.parse().content[-1].text == "a tree"
    warned = [
        event
        for event in stand.client.job(after.headers["x-palaver-job"]).events()
        if event.type == "warning"
    ]
    assert not warned, "it was asked to think, and sent its signed thoughts"


def test_a_prompt_to_be_cached(stand: Stand, client: Any) -> None:
    mark = {"type": "ephemeral"}
    system = [{"type": "text", "text": "Be brief.", "cache_control": mark}]
    counts = {"input_tokens": 47, "output_tokens": 2, "details": {"cache_read_input_tokens": 40}}
    answer = client.messages.with_raw_response.create(
        **asked(script(text="Hi", usage=counts), system=system, tools=[{**TOOL, "cache_control": mark}])
    )
    usage = answer.parse().usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (7, 40)
    job = stand.client.view(answer.headers["x-palaver-job"], document=True).document
    assert job is not None
    assert job.tools is not None
    assert (job.tools[0].cache_control, job.messages[0].model_dump()["content"]) == (mark, system)


def test_tokens_are_counted(stand: Stand, client: Any) -> None:
    short = client.messages.count_tokens(model="scripted/echo", messages=asked("Hi")["messages"])
    long = client.messages.count_tokens(
        model="scripted/echo", messages=asked("Hi")["messages"], system="x " * 300, tools=[TOOL]
    )
    assert 0 < short.input_tokens < 20 < 200 < long.input_tokens
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="nonsense/zz", messages=asked("Hi")["messages"])
    bound = client.with_options(api_key=stand.make_key(tenant="acme", models=["slow/*"]))
    with pytest.raises(anthropic.PermissionDeniedError):
        bound.messages.count_tokens(model="scripted/echo", messages=asked("Hi")["messages"])


def test_a_request_is_repeated_where_that_may_help(stand: Stand) -> None:
    seen: list[int] = []
    http = http_client(event_hooks={"response": [lambda r: seen.append(r.status_code)]})
    client: Any = anthropic.Anthropic(base_url=stand.url, api_key=stand.key, http_client=http, max_retries=1)
    with pytest.raises(anthropic.InternalServerError) as refused:
        client.messages.create(**asked("Hi", model="scripted/status-401"))
    assert seen == [502], "the provider's key is wrong: another try would not help"
    assert (refused.value.request_id or "").startswith("req_")
    assert client.messages.create(**asked("Hi"))._request_id.startswith("req_")
    impatient = client.with_options(timeout=0.3, max_retries=0)
    key = {"Idempotency-Key": new_session()}
    prompt = script(n=40, rate=8)  # longer than the client itself may be held up
    with pytest.raises(anthropic.APITimeoutError):
        impatient.messages.create(**asked(prompt, extra_headers=key))
    answer = client.messages.create(**asked(prompt, extra_headers=key))
    assert answer.content[0].text == "".join(f" w{number}" for number in range(40))


def test_blocks_of_text_and_images(client: Any) -> None:
    image = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    content = [{"type": "image", "source": image}, {"type": "text", "text": "one two"}]
    assert client.messages.create(**asked(content)).content[0].text == "one two"
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "three"}}
    assert client.messages.create(**asked([*content, document])).content[0].text == "one twothree"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"model": "nobody/x"}, "NotFoundError"),
        ({"extra_body": {"temperature": 9}}, "BadRequestError"),
        ({"max_tokens": 0}, "BadRequestError"),
        ({"messages": []}, "BadRequestError"),
        ({"messages": [{"role": "nobody", "content": "Hi"}]}, "BadRequestError"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "BadRequestError"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "BadRequestError"),
        ({"tool_choice": {"type": "some"}}, "BadRequestError"),
        ({"tools": 5}, "BadRequestError"),
        ({"metadata": "x"}, "BadRequestError"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5000}}, "BadRequestError"),
        ({"messages": [{"role": "assistant", "content": [{"type": "text"}]}]}, "BadRequestError"),
        ({"messages": [{"role": "user", "content": [PDF]}]}, "BadRequestError"),
        ({"model": "scripted/status-401"}, "InternalServerError"),
    ],
)  # fmt: skip
def test_errors_are_of_their_own_classes(
    client: Any, stream: bool, fields: dict[str, Any], kind: str
) -> None:
    with pytest.raises(getattr(anthropic, kind)) as refused:
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


def test_what_is_not_offered_is_told_in_anthropics_shape(client: Any) -> None:
    request = {"custom_id": "1", "params": asked("Hi")}
    with pytest.raises(anthropic.NotFoundError) as refused:
        client.messages.batches.create(requests=[request])
    told = "There is no /v1/messages/batches here; /docs shows all that is."
    assert refused.value.body == {"type": "error", "error": {"type": "not_found_error", "message": told}}
    with pytest.raises(anthropic.APIStatusError, match="/v1/messages takes no PUT"):
        client.put("/v1/messages", cast_to=object)


def test_who_has_no_key(stand: Stand) -> None:
    http = http_client()
    client = anthropic.Anthropic(base_url=stand.url, api_key="sk-none", http_client=http)
    with pytest.raises(anthropic.AuthenticationError):
        client.messages.create(**asked("Hi"))
    limited = stand.make_key(tenant="acme", requests_per_minute=1)
    client = anthropic.Anthropic(base_url=stand.url, api_key=limited, http_client=http, max_retries=0)
    client.messages.create(**asked("Hi"))
    with pytest.raises(anthropic.RateLimitError):
        client.messages.create(**asked("Hi"))


def test_models(client: Any) -> None:
    assert "scripted/echo" in [model.id for model in client.models.list()]
    found = client.models.retrieve("scripted/echo")
    assert (found.type, found.id, found.display_name) == ("model", "scripted/echo", "scripted/echo")
    with pytest.raises(anthropic.NotFoundError) as refused:
        client.models.retrieve("scripted/none")
    body: Any = refused.value.body
    assert body["error"]["type"] == "not_found_error"
