"""What servers of the OpenAI dialect do differently: every row of the table, as it is sent."""

import json
import re
from typing import Any

import pytest

from palaver.shared.errors import ConfigurationError, MalformedStreamError, ModelNotFoundError
from palaver.shared.messages import parse_history
from palaver.shared.params import ChatParams
from palaver.shared.profiles import Profile
from palaver.workers.http import HttpClient
from palaver.workers.providers import DialectRequest, GenerationRequest, create, ollama, openai, wire
from palaver.workers.providers.flavours import FLAVOURS, HOSTS, REASONING
from palaver.workers.providers.openai import OpenAIDialect, OpenAIProvider

SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
OBJECT = {"type": "json_object"}


def dialect(flavour: str | None = None, **fields: Any) -> OpenAIDialect:
    options = fields.pop("options", {}) | ({"flavour": flavour} if flavour else {})
    return OpenAIDialect(Profile(**{"name": "p", "kind": "openai", "options": options, **fields}))


def ask(flavour: str, *, params: dict[str, Any] | None = None, **fields: Any) -> DialectRequest:
    request = GenerationRequest(
        model="m", messages=parse_history(["hi"]), params=ChatParams(**params or {}), **fields
    )
    return dialect(flavour, base_url="http://x/v1").request(request)


def left_out(request: DialectRequest) -> list[str | None]:
    return [warning.param for warning in request.warnings if warning.code == "unsupported_parameter"]


def test_every_dialect_has_a_place_for_every_parameter() -> None:
    others = {"response_format", "reasoning", "extra", "include_usage", "return_raw", "return_raw_events"}
    assert set(wire.MAPPED) | others == ChatParams.model_fields.keys()
    assert openai.PARAMETERS.keys() == ollama.PARAMETERS.keys() == set(wire.MAPPED)
    for name, flavour in FLAVOURS.items():
        assert flavour.parameters.keys() <= set(wire.MAPPED), name
        assert flavour.formats <= {"json_object", "json_schema"}, name
        assert flavour.reasoning is None or flavour.reasoning in REASONING, name
    assert set(HOSTS.values()) <= FLAVOURS.keys()


@pytest.mark.parametrize(
    ("flavour", "params", "sent", "missing"),
    [
        ("generic", {"max_tokens": 5, "top_k": 3, "seed": 1}, {"max_tokens": 5, "top_k": 3, "seed": 1}, []),
        ("openai", {"max_tokens": 5, "top_k": 3}, {"max_completion_tokens": 5}, ["top_k"]),
        ("azure", {"max_tokens": 5, "top_k": 3}, {"max_completion_tokens": 5}, ["top_k"]),
        ("groq", {"max_tokens": 5, "logit_bias": {"1": 2}}, {"max_completion_tokens": 5}, ["logit_bias"]),
        ("mistral", {"max_tokens": 5, "seed": 1, "user": "u"}, {"max_tokens": 5, "random_seed": 1}, ["user"]),
        ("deepseek", {"max_tokens": 5, "seed": 1}, {"max_tokens": 5}, ["seed"]),
        ("lmstudio", {"top_k": 3, "seed": 1, "user": "u"}, {"top_k": 3, "seed": 1}, ["user"]),
        ("llamacpp", {"top_k": 3, "logit_bias": {"1": 2}}, {"top_k": 3, "logit_bias": {"1": 2}}, []),
        ("vllm", {"top_k": 3, "n": 1}, {"top_k": 3, "n": 1}, []),
        ("openrouter", {"top_k": 3, "seed": 1}, {"top_k": 3, "seed": 1}, []),
        ("aiml", {"max_tokens": 5, "top_k": 3}, {"max_tokens": 5, "top_k": 3}, []),
        ("groq", {"n": 1}, {}, []),
    ],
)
def test_parameters(
    flavour: str, params: dict[str, Any], sent: dict[str, Any], missing: list[str | None]
) -> None:
    request = ask(flavour, params={**params, "include_usage": False})
    assert left_out(request) == missing
    assert {**request.body, "messages": None} == {"model": "m", "messages": None, "stream": True, **sent}


def test_a_profile_names_the_field_for_an_unknown_server() -> None:
    options = {"max_tokens_field": "max_completion_tokens"}
    at = dialect("deepseek", options=options)
    params = ChatParams(max_tokens=5)
    body = at.request(GenerationRequest(model="m", messages=parse_history(["hi"]), params=params)).body
    assert body["max_completion_tokens"] == 5


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_tokens_field": 5}, "options.max_tokens_field must be a name"),
        ({"max_tokens_field": ""}, "options.max_tokens_field must be a name"),
        ({"flavour": ["vllm"]}, "flavour"),
        ({"flavour": 5}, "flavour"),
    ],
)
def test_options_of_a_wrong_kind(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        dialect(base_url="http://x/v1", options=options)


@pytest.mark.parametrize(
    ("flavour", "wanted", "sent", "missing"),
    [
        ("generic", SCHEMA, SCHEMA, []),
        ("generic", {"type": "grammar", "value": "g"}, {"type": "grammar", "value": "g"}, []),
        ("deepseek", SCHEMA, OBJECT, ["response_format"]),
        ("deepseek", OBJECT, OBJECT, []),
        ("lmstudio", SCHEMA, SCHEMA, []),
        ("lmstudio", OBJECT, None, ["response_format"]),
        ("lmstudio", {"type": "text"}, {"type": "text"}, []),
        ("anthropic", SCHEMA, None, ["response_format"]),
    ],
)
def test_response_formats(
    flavour: str, wanted: dict[str, Any], sent: dict[str, Any] | None, missing: list[str | None]
) -> None:
    request = ask(flavour, params={"response_format": wanted})
    assert (request.body.get("response_format"), left_out(request)) == (sent, missing)


def test_mistral_refuses_stream_options() -> None:
    assert "stream_options" not in ask("mistral").body
    assert ask("groq").body["stream_options"] == {"include_usage": True}


def test_several_answers_come_from_servers_that_give_them_and_else_one_as_a_stream() -> None:
    whole = ask("generic", params={"n": 3}, stream=False)
    assert (whole.body["n"], whole.body.get("stream")) == (3, None)
    one = ask("deepseek", params={"n": 3}, stream=False)
    assert (one.body.get("n"), one.body["stream"], left_out(one)) == (None, True, ["n"])
    raw = ask("deepseek", params={"n": 3, "return_raw": True}, stream=False)
    assert "stream" not in raw.body


def test_thinking_is_given_back_with_tool_calls_where_the_server_wants_it() -> None:
    call = {"id": "c", "name": "f", "arguments": {}}
    messages: list[Any] = [
        {"role": "assistant", "content": "Hm.", "reasoning": "old"},
        {"role": "assistant", "reasoning": "why", "tool_calls": [call], "thinking_blocks": [{"type": "x"}]},
        {"role": "tool", "tool_call_id": "c", "content": "1", "name": "f"},
    ]
    request = GenerationRequest(model="m", messages=parse_history(messages))
    said, called, result = dialect("deepseek").request(request).body["messages"]
    assert said.keys() == {"role", "content"}
    assert called.keys() == {"role", "content", "tool_calls", "reasoning_content"}
    assert called["reasoning_content"] == "why"
    assert result["name"] == "f"
    _, called, result = dialect("groq").request(request).body["messages"]
    assert called.keys() == {"role", "content", "tool_calls"}
    assert "name" not in result


def test_ids_of_calls_fit_and_still_agree() -> None:
    calls: list[dict[str, Any]] = [
        {"id": given, "name": "f", "arguments": {}} for given in ("call_1.2", "abcDEF123")
    ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "1"} for call in calls]
    messages: list[Any] = [{"role": "assistant", "tool_calls": calls}, *results]
    request = GenerationRequest(model="m", messages=parse_history(messages))
    called, *answered = dialect("mistral").request(request).body["messages"]
    ids = [call["id"] for call in called["tool_calls"]]
    assert ids == [message["tool_call_id"] for message in answered]
    assert ids[1] == "abcDEF123"
    assert re.fullmatch("[A-Za-z0-9]{9}", ids[0])
    called, *_ = dialect("vllm").request(request).body["messages"]
    assert called["tool_calls"][0]["id"] == "call_1.2"


class TestAddresses:
    @pytest.mark.parametrize(
        ("fields", "url"),
        [
            ({}, "https://api.openai.com/v1/chat/completions"),
            ({"base_url": "http://x/v1/"}, "http://x/v1/chat/completions"),
            ({"options": {"flavour": "deepseek"}}, "https://api.deepseek.com/chat/completions"),
            (
                {"options": {"flavour": "mistral"}, "base_url": "http://x"},
                "http://x/chat/completions",
            ),
            (
                {"base_url": "https://r.openai.azure.com", "options": {"api_version": "2024-10-21"}},
                "https://r.openai.azure.com/openai/deployments/a%2Fb%3A1/chat/completions?api-version=2024-10-21",
            ),
            (
                {"base_url": "https://r.openai.azure.com/openai/v1"},
                "https://r.openai.azure.com/openai/v1/chat/completions",
            ),
        ],
    )
    def test_chat(self, fields: dict[str, Any], url: str) -> None:
        at = dialect(**fields)
        asked = at.request(GenerationRequest(model="a/b:1", messages=parse_history(["hi"])))
        assert at.base_url + asked.path == url
        assert asked.body["model"] == "a/b:1"

    def test_azure_has_a_header_of_its_own(self) -> None:
        azure = {"base_url": "https://r.openai.azure.com", "api_key": "k"}
        assert dialect(**azure).headers() == {"api-key": "k"}
        bearer = {"Authorization": "Bearer t"}
        assert dialect(**azure, headers=bearer).headers() == bearer
        assert dialect(**azure, options={"api_version": "v"}).models_request().path == (
            "/openai/models?api-version=v"
        )

    def test_a_flavour_without_an_address_needs_one(self) -> None:
        with pytest.raises(ConfigurationError, match="base_url"):
            dialect("azure")

    def test_a_version_belongs_to_azure(self) -> None:
        with pytest.raises(ConfigurationError, match="api_version"):
            dialect("vllm", options={"api_version": "2024-10-21"})

    async def test_aiml_is_a_profile_of_openai(self) -> None:
        http = HttpClient()
        provider = create(Profile(name="p", kind="aiml", api_key="k"), http)
        assert isinstance(provider, OpenAIProvider)
        assert provider.dialect.base_url == "https://api.aimlapi.com/v1"
        assert provider.dialect.headers() == {"authorization": "Bearer k"}
        own = create(Profile(name="p", kind="aiml", base_url="http://x/v1"), http)
        assert isinstance(own, OpenAIProvider)
        assert own.dialect.base_url == "http://x/v1"
        await http.aclose()


class TestModels:
    LIST = json.dumps(
        {
            "data": [
                {"id": "meta-llama/llama-3:free", "context_length": 8192},
                {"id": "org/plain", "context_window": 5},
                {"id": "v", "max_model_len": 6},
                {"id": "l", "meta": {"n_ctx_train": 7}},
                {"id": "none"},
            ]
        }
    ).encode()

    @pytest.mark.parametrize(
        ("model", "size"),
        [
            ("meta-llama/llama-3:free", 8192),
            ("org/plain", 5),
            ("org/plain:nitro", 5),
            ("v", 6),
            ("l", 7),
            ("none", None),
        ],
    )
    def test_one_is_found_in_the_list(self, model: str, size: int | None) -> None:
        found = dialect("generic", base_url="http://x").show(model, self.LIST)
        assert (found.name, found.context_length) == (model, size)

    def test_one_that_is_not_there(self) -> None:
        with pytest.raises(ModelNotFoundError):
            dialect("generic", base_url="http://x").show("meta-llama/llama-3", self.LIST)

    def test_azure_lists_what_could_be_deployed(self) -> None:
        azure = dialect("azure", base_url="http://x")
        assert azure.models(self.LIST) is None
        assert azure.show("my-deployment", self.LIST).context_length is None

    @pytest.mark.parametrize("body", [b"", b"[]", b'{"data": [5]}', b'{"data": null}', b"<html>"])
    def test_what_is_no_list(self, body: bytes) -> None:
        with pytest.raises(MalformedStreamError):
            dialect("generic", base_url="http://x").models(body)
