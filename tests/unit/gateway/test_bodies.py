"""Bodies of any shape: what is no request is refused, and what is one a provider can be asked."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaver.producer import openai_body
from palaver.producer.gateway.anthropic import request as messages
from palaver.producer.gateway.anthropic.body import CountRequest, MessagesRequest
from palaver.producer.gateway.openai import responses_request as responses
from palaver.producer.gateway.openai.chat import ChatRequest
from palaver.producer.gateway.openai.responses_answer import draft, input_items
from palaver.producer.gateway.openai.responses_body import ResponsesRequest
from palaver.producer.gateway.tool_rules import check_tools
from palaver.producer.prepare import prepare
from palaver.shared.errors import PalaverError
from palaver.shared.jobs import ChatJob
from palaver.shared.profiles import Profile
from palaver.shared.settings import Settings
from palaver.shared.token_estimate import prompt_tokens
from palaver.workers.providers import GenerationRequest
from palaver.workers.providers.anthropic import AnthropicDialect
from palaver.workers.providers.openai import OpenAIDialect

Path = tuple[str | int, ...]

MARK = {"type": "ephemeral"}
TEXT = {"type": "text", "text": "x"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
MESSAGES: dict[str, Any] = {
    "model": "a/m",
    "max_tokens": 2000,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": MARK}],
    "tools": [
        {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}, "cache_control": MARK}
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "metadata": {"user_id": "u"},
    "stop_sequences": ["END"],
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "stream": False,
    "service_tier": "auto",
    "messages": [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "SIG=="},
                {"type": "redacted_thinking", "data": "RED"},
                {"type": "text", "text": "Wait."},
                {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": [1]}},
                {"type": "tool_use", "id": "c2", "name": "look", "input": {}, "cache_control": MARK},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "boom", "is_error": True},
                {
                    "type": "tool_result",
                    "tool_use_id": "c2",
                    "content": [IMAGE, {"type": "text", "text": "x"}],
                },
                {"type": "text", "text": "And?", "cache_control": MARK},
                {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
                {"type": "document", "source": {"type": "text", "data": "long"}, "title": "A"},
                {
                    "type": "document",
                    "source": {"type": "content", "content": [{"type": "text", "text": "long"}]},
                },
            ],
        },
    ],
}
RESPONSES: dict[str, Any] = {
    "model": "a/m",
    "instructions": "Be brief.",
    "metadata": {"a": "b"},
    "max_output_tokens": 50,
    "temperature": 0.5,
    "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True}],
    "tool_choice": {"type": "function", "name": "look"},
    "reasoning": {"effort": "low"},
    "text": {
        "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}},
        "verbosity": "low",
    },
    "include": ["reasoning.encrypted_content"],
    "store": False,
    "truncation": "disabled",
    "input": [
        {"role": "user", "content": "Hi"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Wait."}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": 1}'},
        {"type": "function_call", "call_id": "c2", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "a tree"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "x"}]},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "And?"},
                {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"},
            ],
        },
    ],
}
LOOK = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": True}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
CHAT: dict[str, Any] = {
    "model": "a/m",
    "tools": [{"type": "function", "function": LOOK}],
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "stop": ["a"],
    "logit_bias": {"5": 1},
    "metadata": {"a": "b"},
    "stream_options": {"include_usage": True},
    "max_completion_tokens": 5,
    "reasoning_effort": "low",
    "service_tier": "auto",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Hi"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "a tree"},
    ],
}

SETTINGS = Settings()
ANTHROPIC = AnthropicDialect(Profile(name="a", kind="anthropic", base_url="http://x"))
OPENAI = OpenAIDialect(Profile(name="o", kind="openai", base_url="http://x/v1"))
WRONG: list[Any] = [
    *(None, True, 0, -1, 5, 2**70, 1.5, float("nan"), "", "x", "\ud800"),
    *(
        [],
        {},
        [[]],
        [5],
        ["x"],
        {"type": []},
        {"type": "text"},
        {"type": "text", "text": 5},
        {"a": {"b": []}},
    ),
]
NESTED: Any = []
for _ in range(200):
    NESTED = [NESTED]


def job_of(fields: dict[str, Any]) -> ChatJob:
    """As the gateway submits it."""
    check_tools(fields.get("tools"), None)
    said = fields.pop("messages")
    return prepare(said, SETTINGS, {"history": None, **fields, "user": "u"})


def ask_messages(body: Any) -> ChatJob:
    job = job_of(messages.job_fields(MessagesRequest.model_validate(body)))
    counted = CountRequest.model_validate(body)
    assert prompt_tokens(ChatJob.validated(messages.prompt_fields(counted))) > 0
    return job


def ask_responses(body: Any) -> ChatJob:
    job = job_of(responses.job_fields(ResponsesRequest.model_validate(body)))
    orjson.dumps([draft(job.job_id, 1.0, job), input_items(job)])
    return job


def ask_chat(body: Any) -> ChatJob:
    return job_of(openai_body.job_fields(ChatRequest.model_validate(body).given()))


Asked = Callable[[Any], ChatJob]
APIS: dict[str, tuple[Asked, dict[str, Any]]] = {
    "messages": (ask_messages, MESSAGES),
    "responses": (ask_responses, RESPONSES),
    "chat": (ask_chat, CHAT),
}


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for step, child in children:
        yield from places(child, (*path, step))


def changed(body: Any, path: Path, value: Any) -> Any:
    """The body with another value at a place."""
    if not path:
        return value
    body = copy.deepcopy(body)
    place = body
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return body


def without(body: Any, path: Path) -> Any:
    """The body without what is at a place."""
    body = copy.deepcopy(body)
    place = body
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return body


def answered(ask: Asked, body: Any) -> bool:
    """Whether it is a request, which a provider can be asked. Anything but a refusal is a 5xx."""
    try:
        job = ask(body)
    except (pydantic.ValidationError, PalaverError):
        return False
    dialects: tuple[Any, ...] = (ANTHROPIC, OPENAI)
    for dialect in dialects:
        asked = GenerationRequest(
            model="claude-sonnet-4-5",
            messages=list(job.messages),
            params=job.params,
            tools=job.tools,
            tool_choice=job.tool_choice,
            reasoning=job.reasoning,
            parallel_tool_calls=job.parallel_tool_calls,
        )
        orjson.dumps(dialect.request(asked).body)
    return True


@pytest.mark.parametrize("api", APIS)
def test_every_place_of_a_body_may_hold_anything(api: str) -> None:
    ask, body = APIS[api]
    assert answered(ask, body)
    taken = 0
    for path in places(body):
        for value in WRONG:
            taken += answered(ask, changed(body, path, value))
        if path:
            taken += answered(ask, without(body, path))
    assert taken, "some of it means the same as before"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(NESTED),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "content", "role", "name", "source", "input"])
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@given(st.sampled_from(sorted(APIS)), st.data())
@settings(max_examples=50)
def test_any_changes_of_a_body(api: str, data: st.DataObject) -> None:
    ask, body = APIS[api]
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(body))))
        body = changed(body, path, data.draw(values))
    answered(ask, body)


def refusal(api: str, path: Path, value: Any) -> str:
    ask, body = APIS[api]
    with pytest.raises(PalaverError) as refused:
        ask(changed(body, path, value))
    return refused.value.message


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("truncation",), "auto", "truncation"),
        (("conversation",), "conv_1", "conversation"),
        (("prompt",), {"id": "pmpt_1"}, "prompt"),
        (("max_tool_calls",), 1, "max_tool_calls"),
        (("background",), True, "store"),
        (("include",), ["message.output_text.logprobs"], "include"),
        (("text", "format"), {"type": "grammar"}, "text.format.type"),
        (("tools", 0, "type"), "web_search", "tools[0].type"),
    ],
)
def test_what_would_be_another_response_is_refused(path: Path, value: Any, told: str) -> None:
    assert refusal("responses", path, value).startswith(f"{told}: ")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("thinking", "budget_tokens"), 1023, "thinking.budget_tokens"),
        (("thinking", "budget_tokens"), 2000, "thinking.budget_tokens"),
        (("thinking",), {"type": "enabled"}, "thinking.budget_tokens"),
        (("tool_choice",), {"type": "tool"}, "tool_choice.name"),
        (("tools", 0, "type"), "web_search_20250305", "tools[0]"),
        (("messages", 2, "content"), [], "messages[2].content"),
        (("messages", 0, "content"), " ", "messages[0].content"),
        (("messages", 2, "content", 2, "text"), "", "messages[2].content[2].text"),
        (("messages", 1, "content", 0), IMAGE, "messages[1].content[0].type"),
        (("messages", 2, "content", 4, "citations"), {"enabled": True}, "messages[2].content[4].citations"),
    ],
)
def test_what_would_be_another_message_is_refused(path: Path, value: Any, told: str) -> None:
    assert refusal("messages", path, value).startswith(f"{told}: ")


def test_calls_of_one_answer_stay_together() -> None:
    roles = [
        (str(message.role), len(message.tool_calls or ())) for message in ask_responses(RESPONSES).messages
    ]
    assert roles == [("user", 0), ("assistant", 2), ("tool", 0), ("tool", 0), ("user", 0)]


def sent(body: dict[str, Any]) -> dict[str, Any]:
    """What Anthropic is asked when its API is asked for this here."""
    job = ask_messages(body)
    fields = {"params": job.params, "tools": job.tools, "reasoning": job.reasoning}
    said = job.messages if job.system is None else [*ChatJob(messages=job.system).messages, *job.messages]
    asked = GenerationRequest(model="claude-sonnet-4-5", messages=list(said), **fields)  # type: ignore[arg-type]
    return ANTHROPIC.request(asked).body


def test_a_tool_round_with_thinking_reaches_anthropic_as_it_was() -> None:
    body = sent(MESSAGES)
    answer, result = body["messages"][1]["content"], body["messages"][2]["content"]
    assert answer == MESSAGES["messages"][1]["content"]
    assert result[0] == {**MESSAGES["messages"][2]["content"][0]}
    assert result[1]["content"] == [IMAGE, TEXT]
    assert result[2] == MESSAGES["messages"][2]["content"][2]
    assert [block["text"] for block in result[4:]] == ["A", "long", "long"]
    assert body["system"] == MESSAGES["system"]
    assert body["tools"] == MESSAGES["tools"]
    assert (body["thinking"], body["max_tokens"]) == (MESSAGES["thinking"], 2000)


@pytest.mark.parametrize(("most", "thinks"), [(2000, True), (1024, False)])
def test_adaptive_thinking_stays_within_max_tokens(most: int, thinks: bool) -> None:
    body = sent({**MESSAGES, "thinking": {"type": "adaptive"}, "max_tokens": most})
    assert body["max_tokens"] == most
    assert ("thinking" in body) is thinks
    assert body.get("thinking", {}).get("budget_tokens", 0) < most


def test_a_server_that_knows_no_cache_marks_is_sent_none() -> None:
    job = ask_messages(MESSAGES)
    asked = GenerationRequest(model="m", messages=list(job.messages), params=job.params)
    assert b"cache_control" not in orjson.dumps(OPENAI.request(asked).body)
