"""What the dialect of Anthropic sends."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from palaver.shared.errors import ConfigurationError, MalformedStreamError
from palaver.shared.messages import parse_history
from palaver.shared.params import ChatParams, ReasoningOptions
from palaver.shared.profiles import Profile
from palaver.shared.response_schema import schema_of
from palaver.shared.tools import FunctionTool, ToolChoice
from palaver.workers.providers import DialectRequest, GenerationRequest, wire
from palaver.workers.providers.anthropic import PARAMETERS, AnthropicDialect
from palaver.workers.providers.claude import (
    CLAUDE_4_1,
    CLAUDE_4_5,
    CLAUDE_4_6,
    EARLY,
    NEWEST,
    OTHER,
    generation_of,
)
from palaver.workers.providers.flavours import budget_of

OLD, NEW = "claude-sonnet-4-5", "claude-opus-5"
TOOL = FunctionTool(name="f", description="does", parameters={"type": "object"}, strict=True)
CALL = {"id": "c", "name": "f", "arguments": {"x": 1}}
BLOCKS = [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]


class Person(BaseModel):
    name: str


class Family(BaseModel):
    members: list[Person]
    pet: str = ""


class Node(BaseModel):
    children: list["Node"]


def dialect(**fields: Any) -> AnthropicDialect:
    return AnthropicDialect(Profile(**{"name": "p", "kind": "anthropic", **fields}))


def ask(messages: Any = "hi", *, model: str = OLD, params: Any = None, **fields: Any) -> DialectRequest:
    given = [messages] if isinstance(messages, str) else messages
    request = GenerationRequest(
        model=model, messages=parse_history(given), params=ChatParams(**params or {}), **fields
    )
    return dialect().request(request)


def told(request: DialectRequest) -> list[str | None]:
    return [warning.param for warning in request.warnings]


def said(*messages: Any) -> Any:
    return ask(list(messages)).body["messages"]


def test_an_address_may_have_the_version() -> None:
    assert dialect(base_url="https://api.anthropic.com/v1/").base_url == "https://api.anthropic.com"


def test_a_plain_request() -> None:
    request = ask()
    assert request.path == "/v1/messages"
    assert request.body == {
        "model": OLD,
        "max_tokens": 8192,
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
    }
    assert not request.warnings


class TestParameters:
    def test_every_one_has_its_place(self) -> None:
        assert PARAMETERS.keys() == set(wire.MAPPED)

    def test_names(self) -> None:
        params = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "max_tokens": 7, "stop": "x", "user": "u"}
        early = "claude-sonnet-4-0"
        request = ask(model=early, params={**params, "extra": {"top_k": 6, "service_tier": "auto"}})
        assert request.body == {
            "model": early,
            "max_tokens": 7,
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 5,
            "stop_sequences": ["x"],
            "metadata": {"user_id": "u"},
            "service_tier": "auto",
        }
        assert not request.warnings

    def test_what_it_cannot_do_is_told(self) -> None:
        params = {"presence_penalty": 1, "frequency_penalty": 1, "logit_bias": {"1": 1}, "seed": 1, "n": 2}
        request = ask(params=params, stream=False)
        assert told(request) == ["presence_penalty", "frequency_penalty", "logit_bias", "n", "seed"]
        assert request.body["stream"] is True
        assert not params.keys() & request.body.keys()

    def test_values_that_it_would_refuse(self) -> None:
        request = ask(params={"temperature": 1.5, "stop": ["\n", "END"]})
        assert (request.body["temperature"], request.body["stop_sequences"]) == (1, ["END"])
        assert told(request) == ["temperature", "stop"]

    @pytest.mark.parametrize(
        "model",
        ["claude-opus-4-1-20250805", "claude-sonnet-4-5", "anthropic/claude-4.5-haiku", "claude-opus-4-6"],
    )
    def test_models_that_take_one_of_temperature_and_top_p(self, model: str) -> None:
        request = ask(model=model, params={"temperature": 0.5, "top_p": 0.5})
        assert (request.body["temperature"], told(request)) == (0.5, ["top_p"])
        assert "top_p" not in request.body
        assert ask(model=model, params={"top_p": 0.5}).body["top_p"] == 0.5

    def test_newer_models_take_no_sampling(self) -> None:
        request = ask(model=NEW, params={"temperature": 0.5, "top_p": 0.5, "top_k": 5})
        assert told(request) == ["temperature", "top_p", "top_k"]
        assert not {"temperature", "top_p", "top_k"} & request.body.keys()

    def test_a_profile_bounds_answers_whose_jobs_do_not(self) -> None:
        at = dialect(options={"max_tokens": 100})
        plain = GenerationRequest(model=OLD, messages=parse_history(["hi"]))
        assert at.request(plain).body["max_tokens"] == 100
        with pytest.raises(ConfigurationError, match="max_tokens"):
            dialect(options={"max_tokens": 0})

    @pytest.mark.parametrize(
        ("model", "wanted", "format_", "left_out"),
        [
            (OLD, {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string"}}}, 1, []),
            (OLD, {"type": "json_object"}, None, ["response_format"]),
            (OLD, {"type": "text"}, None, []),
            ("claude-3-opus-latest", {"type": "json_schema", "json_schema": {}}, None, ["response_format"]),
        ],
    )
    def test_response_format(self, model: str, wanted: Any, format_: Any, left_out: list[str]) -> None:
        request = ask(model=model, params={"response_format": wanted})
        sent = {"format": {"type": "json_schema", "schema": {"type": "string"}}} if format_ else None
        assert (request.body.get("output_config"), told(request)) == (sent, left_out)

    def test_a_model_s_schema_is_closed_for_it(self) -> None:
        schema = schema_of(Family)
        request = ask(params={"response_format": schema.response_format()})
        sent = request.body["output_config"]["format"]["schema"]
        assert sent["additionalProperties"] is False
        assert sent["$defs"]["Person"]["additionalProperties"] is False
        assert sent["required"] == ["members"]
        assert "additionalProperties" not in schema.json_schema  # the job's own stays as it is

    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "object"},  # any object
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"type": "integer", "minimum": 1},
            {"oneOf": [{"type": "string"}, {"type": "null"}]},
            {"type": "array", "items": {"$ref": "#"}},
            {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
            {"$defs": [{"type": "string"}]},
            schema_of(Node).json_schema,
        ],
    )
    def test_a_schema_that_it_would_refuse_is_left_out(self, schema: dict[str, Any]) -> None:
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        request = ask(params={"response_format": wanted})
        assert (request.body.get("output_config"), told(request)) == (None, ["response_format"])


class TestThinking:
    @pytest.mark.parametrize(
        ("options", "budget"),
        [
            ({"effort": "low"}, 1024),
            ({}, 8192),
            ({"effort": "high"}, 32768),
            ({"effort": "xhigh"}, 65536),
            ({"max_tokens": 5000}, 5000),
            ({"max_tokens": 5}, 1024),
        ],
    )
    def test_a_budget_comes_on_top_of_the_answer(self, options: dict[str, Any], budget: int) -> None:
        request = ask(params={"max_tokens": 100}, reasoning=ReasoningOptions(**options))
        assert request.body["thinking"] == {"type": "enabled", "budget_tokens": budget}
        assert request.body["max_tokens"] == 100 + budget
        assert "budget" not in request.body
        changed = budget_of(ReasoningOptions(**options)) != budget
        assert told(request) == (["reasoning.max_tokens"] if changed else [])

    @pytest.mark.parametrize(
        ("model", "effort", "sent"),
        [
            (NEW, "xhigh", "xhigh"),
            (NEW, "minimal", "low"),
            ("claude-opus-4-6", "xhigh", "max"),
            (NEW, None, None),
        ],
    )
    def test_newer_models_decide_by_an_effort(self, model: str, effort: Any, sent: str | None) -> None:
        body = ask(model=model, reasoning=ReasoningOptions(effort=effort)).body
        assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert body.get("output_config") == ({"effort": sent} if sent else None)

    def test_newer_models_take_no_bound(self) -> None:
        assert told(ask(model=NEW, reasoning=ReasoningOptions(max_tokens=5))) == ["reasoning.max_tokens"]

    def test_what_does_not_go_with_it_is_left_out(self) -> None:
        params = {"temperature": 0.5, "top_k": 5, "top_p": 0.5, "reasoning": True}
        request = ask(params=params, tools=[TOOL], tool_choice=ToolChoice(mode="required"))
        assert told(request) == ["temperature", "top_p", "top_k", "tool_choice"]
        assert request.body["tool_choice"] == {"type": "auto"}
        assert "top_p" in ask(params={"top_p": 0.95, "reasoning": True}).body

    def test_off(self) -> None:
        assert "thinking" not in ask(reasoning=ReasoningOptions(enabled=False)).body
        assert (
            "thinking" not in ask(params={"reasoning": True}, reasoning=ReasoningOptions(enabled=False)).body
        )

    def test_calls_that_nobody_signed_are_answered_without_it(self) -> None:
        result = {"role": "tool", "tool_call_id": "c", "content": "1"}
        unsigned = ["hi", {"role": "assistant", "tool_calls": [CALL]}, result]
        request = ask(unsigned, reasoning=ReasoningOptions())
        assert ("thinking" in request.body, told(request)) == (False, ["reasoning"])
        signed = ["hi", {"role": "assistant", "tool_calls": [CALL], "thinking_blocks": BLOCKS}, result]
        assert "thinking" in ask(signed, reasoning=ReasoningOptions()).body
        assert "thinking" in ask(unsigned, model=NEW, reasoning=ReasoningOptions()).body


class TestMessages:
    def test_the_system_prompt_stands_apart(self) -> None:
        messages = [{"role": "system", "content": "a"}, "hi", {"role": "developer", "content": "b"}]
        body = ask(messages).body
        assert body["system"] == "a\n\nb"
        assert body["messages"] == [{"role": "user", "content": "hi"}]

    def test_a_cached_system_prompt(self) -> None:
        cached = {"cache_control": {"type": "ephemeral"}}
        text = {"type": "text", "text": "long"}
        for message in ({"content": [{**text, **cached}]}, {"content": "long", **cached}):
            assert ask([{"role": "system", **message}, "hi"]).body["system"] == [{**text, **cached}]
        assert said({"role": "user", "content": "long", **cached})[0]["content"] == [{**text, **cached}]

    def test_images(self) -> None:
        urls = ["data:image/png;base64,AAAA", "https://x/y.png"]
        parts = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}} for url in urls]
        assert said({"role": "user", "content": [{"type": "text", "text": "look"}, *parts]}) == [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
                    },
                    {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
                ],
            }
        ]

    def test_calls_and_their_results(self) -> None:
        asked = {"role": "assistant", "content": "Wait.", "thinking_blocks": BLOCKS, "reasoning": "hm"}
        calls = [CALL, {"id": "d", "name": "g", "arguments": "oops"}]
        results = [
            {"role": "tool", "tool_call_id": "c", "content": "1"},
            {"role": "tool", "tool_call_id": "d", "content": "", "metadata": {"is_error": True}},
        ]
        assert said("hi", {**asked, "tool_calls": calls}, *results, "and?") == [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": [
                    *BLOCKS,
                    {"type": "text", "text": "Wait."},
                    {"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}},
                    {"type": "tool_use", "id": "d", "name": "g", "input": {"arguments": "oops"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c", "content": "1"},
                    {"type": "tool_result", "tool_use_id": "d", "is_error": True},
                    {"type": "text", "text": "and?"},
                ],
            },
        ]

    def test_an_id_that_it_would_refuse(self) -> None:
        called = {"role": "assistant", "tool_calls": [{**CALL, "id": "c.2"}]}
        _, asked, answered = said("hi", called, {"role": "tool", "tool_call_id": "c.2", "content": "1"})
        call_id = asked["content"][0]["id"]
        assert call_id == answered["content"][0]["tool_use_id"]
        assert "." not in call_id

    def test_white_space_alone_is_left_out(self) -> None:
        assert said("hi", {"role": "assistant", "content": " \n"}, "you?") == [
            {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "you?"}]}
        ]

    def test_text_and_unknown_keys_of_other_dialects(self) -> None:
        message = {"role": "user", "content": " hi\n", "name": "x", "custom": 1, "metadata": {"secret": 1}}
        assert said(message) == [{"role": "user", "content": " hi\n"}]


class TestPrefix:
    def request(self, model: str, **fields: Any) -> GenerationRequest:
        return GenerationRequest(model=model, messages=parse_history(["hi"]), **fields)

    def test_it_is_sent_without_the_white_space_at_its_end(self) -> None:
        assert ask(prefix="so far \n").body["messages"][-1] == {"role": "assistant", "content": "so far"}
        assert len(ask(prefix=" \n").body["messages"]) == 1

    @pytest.mark.parametrize(
        ("model", "takes"),
        [
            ("claude-3-5-sonnet-20241022", True),
            (OLD, True),
            ("claude-opus-4-6", False),
            (NEW, False),
            ("llama-3", False),
        ],
    )
    def test_older_models_go_on_after_one(self, model: str, takes: bool) -> None:
        assert dialect().takes_prefix(self.request(model)) is takes
        assert dialect(resume="prefix").takes_prefix(self.request(model))

    def test_not_while_they_think(self) -> None:
        assert not dialect().takes_prefix(self.request(OLD, reasoning=ReasoningOptions()))


class TestTools:
    def test_definitions(self) -> None:
        body = ask(tools=[TOOL]).body
        assert body["tools"] == [
            {"name": "f", "description": "does", "input_schema": {"type": "object"}, "strict": True}
        ]
        assert "tool_choice" not in body

    @pytest.mark.parametrize(
        ("choice", "parallel", "sent"),
        [
            ("auto", None, {"type": "auto"}),
            ("required", None, {"type": "any"}),
            ("none", False, {"type": "none"}),
            ("f", None, {"type": "tool", "name": "f"}),
            ("f", False, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
            (None, True, {"type": "auto", "disable_parallel_tool_use": False}),
        ],
    )
    def test_choice(self, choice: Any, parallel: bool | None, sent: dict[str, Any]) -> None:
        given = None if choice is None else ToolChoice.model_validate(choice)
        body = ask(tools=[TOOL], tool_choice=given, parallel_tool_calls=parallel).body
        assert body["tool_choice"] == sent
        assert "tool_choice" not in ask(tool_choice=given, parallel_tool_calls=parallel).body


class TestHeaders:
    def test_the_key(self) -> None:
        version = {"anthropic-version": "2023-06-01"}
        assert dialect(api_key="k").headers() == {"x-api-key": "k", **version}
        for name in ("Authorization", "X-Api-Key"):
            assert dialect(api_key="k", headers={name: "mine"}).headers() == {name: "mine", **version}
        own = {"Anthropic-Version": "2030-01-01", "anthropic-beta": "x"}
        assert dialect(headers=own).headers() == own

    def test_the_address(self) -> None:
        assert dialect().base_url == "https://api.anthropic.com"
        assert dialect(base_url="http://x/anthropic/").base_url == "http://x/anthropic"


class TestModels:
    def test_the_list(self) -> None:
        assert dialect().models_request().path == "/v1/models?limit=1000"
        assert dialect().models(b'{"data":[{"type":"model","id":"a"}],"has_more":false}') == ["a"]

    def test_one(self) -> None:
        assert dialect().show_request("a/b:c").path == "/v1/models/a%2Fb%3Ac"
        found = dialect().show("a", json.dumps({"id": "a", "max_input_tokens": 9}).encode())
        assert (found.name, found.context_length) == ("a", 9)
        with pytest.raises(MalformedStreamError):
            dialect().show("a", b"[]")


@pytest.mark.parametrize(
    ("model", "generation"),
    [
        ("claude-instant-1.2", EARLY),
        ("claude-2.1", EARLY),
        ("claude-3-opus-20240229", EARLY),
        ("claude-3-7-sonnet-latest", EARLY),
        ("claude-sonnet-4-20250514", EARLY),
        ("claude-opus-4-0", EARLY),
        ("claude-opus-4-1-20250805", CLAUDE_4_1),
        ("claude-opus-4@20250514", EARLY),
        ("anthropic/claude-opus-4", EARLY),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", EARLY),
        ("claude-sonnet-4-5-20250929", CLAUDE_4_5),
        ("claude-haiku-4-5", CLAUDE_4_5),
        ("anthropic/claude-sonnet-4.5", CLAUDE_4_5),
        ("anthropic/claude-4.6-opus", CLAUDE_4_6),
        ("claude-sonnet-4-6", CLAUDE_4_6),
        ("claude-opus-4-7", NEWEST),
        ("claude-opus-4-10", NEWEST),
        ("claude-sonnet-5", NEWEST),
        ("claude-fable-5", NEWEST),
        ("llama3:8b", OTHER),
    ],
)
def test_generations(model: str, generation: Any) -> None:
    assert generation_of(model) == generation
