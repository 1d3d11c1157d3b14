"""The official `openai` package against the gateway: only its base_url is another one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel

from tests.http_clients import async_http_client, http_client
from tests.integration.gateway.conftest import Stand, new_session, script
from tests.sdks import openai
from tests.servers import IN_TIME, eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("gateway")]

ECHO = "scripted/echo"
TOOLS = [
    {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
]
CALLS = script(tool_calls=[{"id": "c1", "name": "look", "arguments": {"at": "ö"}}])


@pytest.fixture
def client(stand: Stand) -> Iterator[openai.OpenAI]:
    http = http_client()
    with openai.OpenAI(base_url=f"{stand.url}/v1", api_key=stand.key, http_client=http, timeout=30) as client:
        yield client


def ask(client: openai.OpenAI, content: str, **options: object) -> Any:
    fields = {"model": ECHO, "messages": [{"role": "user", "content": content}], **options}
    return client.chat.completions.create(**fields)  # type: ignore[call-overload]


def test_a_completion(client: openai.OpenAI) -> None:
    answer = ask(client, "one two three", temperature=0.5, user="u1", seed=1)
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == (
        "assistant",
        "one two three",
        "stop",
    )
    assert answer.id.startswith("chatcmpl-")
    assert client.models.retrieve(answer.model).id == ECHO, "it can be asked for"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        3,
        3,
        6,
    )


def test_a_stream(client: openai.OpenAI) -> None:
    prompt = script(n=20, reasoning="I count to twenty.", rate=0)
    chunks = list(ask(client, prompt, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "".join(f" w{number}" for number in range(20))
    thoughts = [
        getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks if chunk.choices
    ]
    assert "".join(thoughts) == "I count to twenty."
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 24
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_stream_without_usage_says_none(client: openai.OpenAI) -> None:
    chunks = list(ask(client, "Hi", stream=True))
    assert all(chunk.choices for chunk in chunks)


def test_the_first_words_come_before_the_last_are_written(client: openai.OpenAI) -> None:
    stream = ask(client, script(endless=True, rate=50), stream=True)
    words = [next(iter(stream)) for _ in range(3)]
    assert words
    stream.close()


def test_tools_are_called_and_answered(client: openai.OpenAI) -> None:
    answer = ask(client, CALLS, tools=TOOLS, tool_choice="auto")
    (call,) = answer.choices[0].message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("c1", "look", '{"at":"ö"}')
    assert (answer.choices[0].finish_reason, answer.choices[0].message.content) == ("tool_calls", None)
    chunks = list(ask(client, CALLS, tools=TOOLS, stream=True))
    (streamed,) = [c for chunk in chunks for c in chunk.choices[0].delta.tool_calls or ()]
    assert (streamed.index, streamed.id, streamed.function.arguments) == (0, "c1", '{"at":"ö"}')
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    messages = [
        {"role": "user", "content": CALLS},
        answer.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": "c1", "content": "a tree"},
    ]
    after = ask(client, "", messages=messages, tools=TOOLS)
    assert after.choices[0].message.content == "a tree"
    with pytest.raises(openai.BadRequestError, match="one by one"):
        ask(client, "Hi", tools=[{"type": "function", "function": {"name": "*"}}])


def test_a_key_may_be_for_some_of_the_workers_tools(stand: Stand) -> None:
    key = stand.make_key(tenant="acme", tools=["look"])
    client = openai.OpenAI(base_url=f"{stand.url}/v1", api_key=key, http_client=http_client())
    bare, own = {"name": "pay"}, {"name": "pay", "description": "Pays."}
    assert ask(client, "Hi", tools=[*TOOLS, {"type": "function", "function": own}]).choices
    with pytest.raises(openai.PermissionDeniedError) as refused:
        ask(client, "Hi", tools=[{"type": "function", "function": bare}])
    assert refused.value.param == "tools"


class Tea(BaseModel):
    price: float


def test_a_response_format(client: openai.OpenAI) -> None:
    parsed = client.chat.completions.parse(
        model=ECHO, messages=[{"role": "user", "content": script(text='{"price": 2.5}')}], response_format=Tea
    )
    assert parsed.choices[0].message.parsed == Tea(price=2.5)


def test_a_job_goes_on_with_the_trace_of_its_request(stand: Stand, client: openai.OpenAI) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    for given, kept in ((trace, trace), ("00-nothing", None)):
        answer = ask(client, "Hi", extra_headers={"traceparent": given})
        view = stand.client.view(answer.id.removeprefix("chatcmpl-"), document=True)
        assert view.document is not None
        assert view.document.traceparent == kept


def test_several_choices(client: openai.OpenAI) -> None:
    assert ask(client, "Hi", n=1).choices[0].message.content == "Hi"
    once = {"idempotency-key": new_session()}
    for stream in (True, False):  # the scripted provider knows no n
        for model in ("scripted/echo", "default"):
            with pytest.raises(openai.BadRequestError) as refused:
                ask(client, "Hi", n=2, model=model, stream=stream, extra_headers=once)
            assert refused.value.param == "n"
    assert ask(client, "Hi", extra_headers=once).choices, "nothing was asked for before"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"model": "nobody/x"}, "NotFoundError", "model"),
        ({"model": "gpt"}, "NotFoundError", "model"),
        ({"temperature": 9}, "BadRequestError", "temperature"),
        ({"messages": []}, "BadRequestError", "messages"),
        ({"messages": [{"role": "nobody", "content": "Hi"}]}, "BadRequestError", "messages[0].role"),
        ({"logprobs": True}, "BadRequestError", "logprobs"),
        ({"stop": ""}, "BadRequestError", "stop"),
        ({"model": "scripted/status-401"}, "InternalServerError", None),
        ({"model": "scripted/none-such"}, "NotFoundError", "model"),
    ],
)  # fmt: skip
def test_errors_are_of_their_own_classes(
    client: openai.OpenAI,
    stream: bool,
    fields: dict[str, object],
    kind: str,
    param: str | None,
) -> None:
    with pytest.raises(getattr(openai, kind)) as refused:
        ask(client, "Hi", **{"stream": stream, **fields})
    assert refused.value.param == param
    assert refused.value.message


def test_an_error_in_the_middle_of_a_stream(client: openai.OpenAI) -> None:
    prompt = script(n=9, rate=0, fail={"kind": "status", "status": 400, "after": 3, "message": "no more"})
    stream, words = iter(ask(client, prompt, stream=True)), ""
    while len(words) < len(" w0 w1 w2"):
        words += next(stream).choices[0].delta.content
    with pytest.raises(openai.APIError, match="no more"):
        next(stream)
    assert words == " w0 w1 w2"


def test_a_request_that_failed_is_asked_again_only_if_that_may_help(stand: Stand) -> None:
    asked: list[int] = []
    http = http_client(event_hooks={"response": [lambda r: asked.append(r.status_code)]})
    client = openai.OpenAI(base_url=f"{stand.url}/v1", api_key=stand.key, http_client=http, max_retries=1)
    with pytest.raises(openai.InternalServerError):
        ask(client, "Hi", model="scripted/status-401")
    assert asked == [502], "the provider's key is wrong: another try would not help"
    key = stand.make_key(tenant="acme", requests_per_minute=1)
    limited = openai.OpenAI(base_url=f"{stand.url}/v1", api_key=key, http_client=http, max_retries=0)
    ask(limited, "Hi")
    with pytest.raises(openai.RateLimitError) as refused:
        ask(limited, "Hi")
    headers = refused.value.response.headers
    assert headers["x-should-retry"] == "true"
    assert 0 < int(headers["retry-after"]) <= 60


def test_who_has_no_key(stand: Stand) -> None:
    http = http_client()
    with pytest.raises(openai.AuthenticationError):
        ask(openai.OpenAI(base_url=f"{stand.url}/v1", api_key="sk-none", http_client=http), "Hi")
    models = openai.OpenAI(
        base_url=f"{stand.url}/v1", api_key=stand.make_key(models=["slow/*"]), http_client=http
    )
    with pytest.raises(openai.PermissionDeniedError):
        ask(models, "Hi")
    assert {model.owned_by for model in models.models.list()} == {"slow"}


def test_a_client_that_waits_no_longer_loses_nothing(stand: Stand, client: openai.OpenAI) -> None:
    key = new_session()
    impatient = client.with_options(timeout=0.3, max_retries=0)
    prompt = script(n=40, rate=8)  # longer than the client itself may be held up
    with pytest.raises(openai.APITimeoutError):
        ask(impatient, prompt, extra_headers={"Idempotency-Key": key})
    answer = ask(client, prompt, extra_headers={"Idempotency-Key": key})
    assert answer.choices[0].message.content == "".join(f" w{number}" for number in range(40))
    again = ask(client, prompt, extra_headers={"Idempotency-Key": key})
    assert again.id == answer.id
    with pytest.raises(openai.ConflictError):
        ask(client, "other", extra_headers={"Idempotency-Key": key})


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_may_cancel_by_leaving(stand: Stand, http: httpx2.Client, stream: bool) -> None:
    session_id = new_session()
    stand.client.submit("Hi", session_id=session_id, tenant="acme").result(timeout=20)
    headers = {"x-palaver-session": session_id}
    body = {"messages": [{"role": "user", "content": script(endless=True, rate=50)}], "stream": stream}

    def jobs() -> list[Any]:
        return list(http.get("/jobs", params={"session": session_id}).json()["items"])

    def leave(**more: str) -> str:
        known = len(jobs())
        asked = http.build_request("POST", "/v1/chat/completions", json=body, headers={**headers, **more})
        lines = ["POST /v1/chat/completions HTTP/1.1", *map(": ".join, asked.headers.items()), "", ""]
        with socket.create_connection((asked.url.host, asked.url.port or 0), IN_TIME) as client:
            client.sendall("\r\n".join(lines).encode() + asked.content)
            assert eventually(lambda: len(jobs()) > known), "it is submitted before its client leaves"
            return str(jobs()[0]["job_id"])

    if stream:
        with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
            job_id = response.headers["x-palaver-job"]
            assert response.headers["x-palaver-session"] == session_id
            next(response.iter_lines())
    else:
        job_id = leave()
    view = stand.client.view(job_id)
    assert not view.status.ended, "who leaves cancels nothing"
    stand.client.job(job_id).cancel()
    assert eventually(lambda: stand.client.view(job_id).status.ended)
    if stream:
        more = {**headers, "x-palaver-on-disconnect": "cancel"}
        with http.stream("POST", "/v1/chat/completions", json=body, headers=more) as response:
            job_id = response.headers["x-palaver-job"]
            next(response.iter_lines())
    else:
        job_id = leave(**{"x-palaver-on-disconnect": "cancel"})
    assert eventually(lambda: stand.client.view(job_id).status == "cancelled")


def test_models(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"default", "scripted/echo", "slow/numbers"} <= set(names)
    assert client.models.retrieve("scripted/echo").owned_by == "scripted"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("scripted/none")


def test_a_request_has_an_id_and_a_head(http: httpx2.Client, client: openai.OpenAI) -> None:
    answer = ask(client, "Hi")
    assert answer._request_id.startswith("req_")
    assert ask(client, "Hi", stream=True).response.headers["x-request-id"] != answer._request_id
    with pytest.raises(openai.NotFoundError) as refused:
        ask(client, "Hi", model="nobody/x")
    assert (refused.value.request_id or "").startswith("req_")
    for path in ("/healthz", "/", "/v1/models"):
        head, got = http.head(path), http.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == got.headers["content-type"]
    job = http.post("/v1/responses", json={"input": script(endless=True, rate=9), "background": True}).json()
    events = http.head(f"/v1/responses/{job['id']}?stream=true")  # which goes on, and is not waited for
    assert events.headers["content-type"].startswith("text/event-stream")
    client.responses.cancel(job["id"])


async def test_the_async_client(stand: Stand) -> None:
    http = async_http_client()
    async with openai.AsyncOpenAI(base_url=f"{stand.url}/v1", api_key=stand.key, http_client=http) as client:
        stream = await client.chat.completions.create(
            model=ECHO, messages=[{"role": "user", "content": "one two"}], stream=True
        )
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "one two"
