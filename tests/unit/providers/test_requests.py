"""What the dialects send."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from palaver.shared.errors import ConfigurationError, ValidationError
from palaver.shared.messages import parse_history, parse_messages
from palaver.shared.params import RESERVED, ChatParams, ReasoningOptions
from palaver.shared.profiles import Profile
from palaver.shared.tools import FunctionTool, ToolChoice
from palaver.workers.providers import Dialect, GenerationRequest, detect_provider
from palaver.workers.providers.anthropic import AnthropicDialect
from palaver.workers.providers.flavours import flavour_of, reasoning_fields
from palaver.workers.providers.ollama import OllamaDialect
from palaver.workers.providers.openai import OpenAIDialect
from palaver.workers.providers.parts import ReasoningDelta, TextDelta, WarningPart

TOOL = FunctionTool(name="f", description="does", parameters={"type": "object"})
ALL = ChatParams(
    temperature=0.0,
    top_p=0.5,
    max_tokens=7,
    stop="x",
    presence_penalty=1,
    frequency_penalty=-1,
    logit_bias={50256: -100},
    user="u",
    seed=4,
    response_format={"type": "json_object"},
)


def asked(messages: Any = "hi", **fields: Any) -> GenerationRequest:
    return GenerationRequest(model="m", messages=parse_history(parse_messages(messages)), **fields)


def openai(**fields: Any) -> OpenAIDialect:
    return OpenAIDialect(Profile(**{"name": "p", "kind": "openai", "base_url": "http://x/v1", **fields}))


def ollama(**fields: Any) -> OllamaDialect:
    return OllamaDialect(Profile(**{"name": "p", "kind": "ollama", **fields}))


def test_openai_sends_what_was_given_and_no_null() -> None:
    assert openai().request(asked()).body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_openai_parameters_keep_their_names() -> None:
    body = openai().request(asked(params=ALL)).body
    assert {name: body[name] for name in ALL.model_dump(exclude_unset=True)} == {
        **ALL.model_dump(exclude_unset=True),
        "stop": ["x"],
        "logit_bias": {"50256": -100},
    }


@pytest.mark.parametrize(
    "dialect", [openai(), ollama(), AnthropicDialect(Profile(name="p", kind="anthropic"))]
)
def test_extra_takes_the_place_of_nothing(dialect: Dialect) -> None:
    thinks = {"reasoning": ReasoningOptions(max_tokens=2000)}
    plain = dialect.request(asked(params=ALL, **thinks)).body
    theirs = {name: "theirs" for name in plain if name not in RESERVED}
    params = ALL.merged({"extra": {**theirs, "min_p": 0.1}})
    assert len(theirs) > 1
    assert dialect.request(asked(params=params, **thinks)).body == {**plain, "min_p": 0.1}


def test_openai_usage_can_be_left_out() -> None:
    assert "stream_options" not in openai().request(asked(params=ChatParams(include_usage=False))).body


def test_openai_n_needs_a_whole_body() -> None:
    streamed = openai().request(asked(params=ChatParams(n=2)))
    assert "n" not in streamed.body
    assert [warning.param for warning in streamed.warnings] == ["n"]
    whole = openai().request(asked(params=ChatParams(n=2), stream=False))
    assert whole.body["n"] == 2
    assert "stream" not in whole.body
    assert not whole.warnings


def test_openai_max_tokens_can_have_another_name() -> None:
    dialect = openai(options={"max_tokens_field": "max_completion_tokens"})
    assert dialect.request(asked(params=ChatParams(max_tokens=5))).body["max_completion_tokens"] == 5


def test_openai_messages() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": " a "}, picture], "metadata": {"secret": 1}},
        {
            "role": "assistant",
            "reasoning": "hm",
            "tool_calls": [{"id": "c", "name": "f", "arguments": {"x": "é"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "", "custom": 5},
    ]
    assert openai().request(asked(messages)).body["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": " a "}, picture]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x":"é"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "", "custom": 5},
    ]
    at_openai = openai(base_url="https://api.openai.com/v1").request(asked(messages))
    assert at_openai.body["messages"][0]["role"] == "developer"


def test_openai_tools() -> None:
    body = (
        openai()
        .request(asked(tools=[TOOL], tool_choice=ToolChoice.model_validate("f"), parallel_tool_calls=False))
        .body
    )
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "f", "description": "does", "parameters": {"type": "object"}},
        }
    ]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert body["parallel_tool_calls"] is False
    assert (
        not {"tools", "tool_choice"}
        & openai().request(asked(tool_choice=ToolChoice(mode="auto"))).body.keys()
    )


@pytest.mark.parametrize(
    ("fields", "last", "extra"),
    [
        ({"resume": "prefix"}, {}, {}),
        (
            {"options": {"flavour": "vllm"}},
            {},
            {"continue_final_message": True, "add_generation_prompt": False},
        ),
        ({"base_url": "https://api.deepseek.com/beta"}, {"prefix": True}, {}),
        ({"base_url": "https://api.mistral.ai/v1"}, {"prefix": True}, {}),
    ],
)
def test_openai_prefix(fields: dict[str, Any], last: dict[str, Any], extra: dict[str, Any]) -> None:
    dialect = openai(**fields)
    assert dialect.continues_prefix
    body = dialect.request(asked(prefix="so far")).body
    assert body["messages"][-1] == {"role": "assistant", "content": "so far", **last}
    assert extra.items() <= body.items()


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "https://api.deepseek.com"])
def test_openai_prefix_is_not_sent_to_a_server_that_would_answer_or_refuse_it(url: str) -> None:
    dialect = openai(base_url=url)
    assert not dialect.continues_prefix
    assert len(dialect.request(asked(prefix="so far")).body["messages"]) == 1


def test_ollama_request() -> None:
    params = ALL.merged({"extra": {"options": {"num_ctx": 9}, "template": "t"}})
    dialect = ollama(options={"options": {"num_gpu": 1, "seed": 1}, "keep_alive": "5m"})
    request = dialect.request(asked(params=params, reasoning=ReasoningOptions(), tools=[TOOL]))
    assert request.path == "/api/chat"
    assert request.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "think": True,
        "format": "json",
        "keep_alive": "5m",
        "template": "t",
        "tools": [TOOL.to_dict()],
        "options": {
            "num_gpu": 1,
            "temperature": 0,
            "top_p": 0.5,
            "num_predict": 7,
            "stop": ["x"],
            "seed": 4,
            "presence_penalty": 1,
            "frequency_penalty": -1,
            "num_ctx": 9,
        },
    }
    assert {warning.param for warning in request.warnings} == {"logit_bias", "user"}
    assert params.extra["options"] == {"num_ctx": 9}


def test_ollama_messages() -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ],
        },
        {"role": "assistant", "tool_calls": [{"id": "c", "name": "f", "arguments": {"x": 1}}]},
        {"role": "tool", "tool_call_id": "c", "content": "2"},
    ]
    assert ollama().request(asked(messages, prefix="so")).body["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "look", "images": ["AAAA"]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}],
        },
        {"role": "tool", "content": "2", "tool_name": "f"},
        {"role": "assistant", "content": "so"},
    ]


def test_ollama_refuses_images_that_it_would_have_to_fetch() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    with pytest.raises(ValidationError) as raised:
        ollama().request(asked([{"role": "user", "content": [picture]}]))
    assert raised.value.param == "messages[0].content"


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, "json"),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}},
            {"type": "array"},
        ),
    ],
)
def test_ollama_format(wanted: dict[str, Any], sent: Any) -> None:
    assert ollama().request(asked(params=ChatParams(response_format=wanted))).body.get("format") == sent


def test_ollama_tool_choice() -> None:
    none = ollama().request(asked(tools=[TOOL], tool_choice=ToolChoice(mode="none")))
    assert "tools" not in none.body
    must = ollama().request(
        asked(tools=[TOOL], tool_choice=ToolChoice(mode="required"), parallel_tool_calls=True)
    )
    assert {warning.param for warning in must.warnings} == {"tool_choice", "parallel_tool_calls"}


@pytest.mark.parametrize("make", [openai, ollama])
def test_keys_and_headers(make: Callable[..., Any]) -> None:
    given = {"X-A": "1"}
    assert make(api_key="k", headers=given).headers() == {"X-A": "1", "authorization": "Bearer k"}
    assert given == {"X-A": "1"}
    assert make(api_key="k", headers={"AUTHORIZATION": "mine"}).headers() == {"AUTHORIZATION": "mine"}
    assert make().headers() == {}
    for bad in ("sk-1\n", "sk–1"):  # noqa: RUF001  # a dash that an editor made
        with pytest.raises(ConfigurationError) as raised:
            make(api_key=bad)
        assert bad not in str(raised.value)


@pytest.mark.parametrize("make", [openai, ollama])
def test_only_an_answer_from_its_beginning_begins_in_thought(make: Callable[..., Any]) -> None:
    def kinds(request: GenerationRequest) -> list[type]:
        decoder = make(options={"think_tags": "open"}).decoder(request)
        line = {"message": {"content": "x"}, "choices": [{"index": 0, "delta": {"content": "x"}}]}
        data = json.dumps(line).encode()
        return [
            type(part)
            for part in decoder.feed(b"data: " + data + b"\n\n" if make is openai else data + b"\n")
        ]

    assert kinds(asked()) == [ReasoningDelta]
    assert kinds(asked(prefix="so far")) == [TextDelta]


@pytest.mark.parametrize("make", [openai, ollama])
def test_wrong_options_are_named(make: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError, match="max_event_bytes"):
        make(options={"max_event_bytes": "many"})
    with pytest.raises(ConfigurationError, match="think_tags must be true or false, not a string"):
        make(options={"think_tags": "yes"})
    with pytest.raises(ConfigurationError, match="no option 'think_tag'; is it 'think_tags'"):
        make(options={"think_tag": True})
    with pytest.raises(ConfigurationError, match=r"no option 'x'; there are: .*max_event_bytes"):
        make(options={"x": 1})


def test_an_unknown_flavour_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="vllm"):
        openai(options={"flavour": "vanilla"})


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.DeepSeek.com/v1", "deepseek"),
        ("https://api.openai.com", "openai"),
        ("https://claude.ai", "anthropic"),
        ("https://api.moonshot.ai/v1", "moonshot"),
        ("https://open.bigmodel.cn/api", "zhipuai"),
        ("https://api.minimax.chat", "minimax"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "alibaba"),
        ("https://evil/?x=openai.com", None),
        ("https://openai.com.evil.org", None),
        ("https://notopenai.com", None),
        ("http://127.0.0.1:1", None),
        ("http://[", None),
        ("", None),
        (None, None),
    ],
)
def test_providers_are_known_by_their_host(url: str | None, name: str | None) -> None:
    assert detect_provider(url) == name


@pytest.mark.parametrize(
    ("url", "options", "sent"),
    [
        ("http://x", None, {}),
        ("http://x", ReasoningOptions(enabled=False), {}),
        ("http://x", ReasoningOptions(), {"reasoning_effort": "medium"}),
        ("https://api.deepseek.com", ReasoningOptions(effort="low"), {"thinking": {"type": "enabled"}}),
        (
            "https://api.anthropic.com",
            ReasoningOptions(effort="high"),
            {"thinking": {"type": "enabled", "budget_tokens": 32768}},
        ),
        *(
            (
                "https://api.anthropic.com",
                ReasoningOptions(effort=effort),
                {"thinking": {"type": "enabled", "budget_tokens": budget}},
            )
            for effort, budget in ((None, 8192), ("low", 1024), ("medium", 8192), ("xhigh", 65536))
        ),
        ("https://open.bigmodel.cn/api", ReasoningOptions(), {"thinking": {"type": "enabled"}}),
        ("https://api.minimax.chat", ReasoningOptions(effort="high"), {"thinking": {"type": "enabled"}}),
        ("https://openrouter.ai/api/v1", ReasoningOptions(effort="low"), {"reasoning": {"effort": "low"}}),
        ("https://api.moonshot.ai", ReasoningOptions(), {}),
        (
            "https://dashscope.aliyuncs.com",
            ReasoningOptions(max_tokens=99),
            {"enable_thinking": True, "thinking_budget": 99},
        ),
    ],
)
def test_reasoning(url: str, options: ReasoningOptions | None, sent: dict[str, Any]) -> None:
    assert reasoning_fields(flavour_of(url).reasoning, options, []) == sent


@pytest.mark.parametrize(
    ("url", "options", "told"),
    [
        ("http://x", {"effort": "low"}, []),
        ("http://x", {"max_tokens": 99}, ["reasoning.max_tokens"]),
        (
            "https://api.deepseek.com",
            {"effort": "low", "max_tokens": 9},
            ["reasoning.effort", "reasoning.max_tokens"],
        ),
        ("https://api.minimax.chat", {}, []),
        ("https://dashscope.aliyuncs.com", {"effort": "low"}, []),
        ("https://openrouter.ai/api/v1", {"max_tokens": 99}, []),
        ("https://api.moonshot.ai", {}, ["reasoning"]),
        ("https://api.moonshot.ai", {"enabled": False}, []),
    ],
)
def test_what_a_server_has_no_field_for_is_told(url: str, options: dict[str, Any], told: list[str]) -> None:
    warnings: list[WarningPart] = []
    reasoning_fields(flavour_of(url).reasoning, ReasoningOptions(**options), warnings)
    assert [warning.param for warning in warnings] == told


def test_an_address_of_ollama_may_have_the_path() -> None:
    assert ollama(base_url="http://x:11434/api/").base_url == "http://x:11434"


@pytest.mark.parametrize(
    ("model", "options", "think", "told"),
    [
        ("llama3", {}, True, []),
        ("llama3", {"effort": "low", "max_tokens": 9}, True, ["reasoning.effort", "reasoning.max_tokens"]),
        ("gpt-oss:20b", {"effort": "low"}, "low", []),
    ],
)
def test_ollama_is_asked_to_think(model: str, options: dict[str, Any], think: Any, told: list[str]) -> None:
    asking = GenerationRequest(
        model=model, messages=parse_history(["hi"]), reasoning=ReasoningOptions(**options)
    )
    request = ollama().request(asking)
    assert (request.body["think"], [warning.param for warning in request.warnings]) == (think, told)
