"""LiteLLM's proxy, in OpenAI's dialect and in Anthropic's: it translates both to what is behind it."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from palaver.shared.errors import PalaverError, RateLimitError, ServerError
from palaver.shared.tools import FunctionTool
from palaver.workers.providers import FinishPart, Part, ReasoningDelta, ToolCallPart, UsagePart
from tests.integration.providers.conftest import text_of
from tests.model_server import ModelServer
from tests.peers.conftest import LITELLM_KEY, Peer

CALL: dict[str, Any] = {"id": "c7", "name": "weather", "arguments": {"city": "Zürich", "days": [1, 2]}}


@pytest.fixture(params=["openai", "anthropic"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ask(kind: str, litellm: str, peer: Callable[..., Peer]) -> Callable[[str], Peer]:
    """`ask(model)`: that model behind LiteLLM."""
    return lambda model: peer(kind, litellm, model, api_key=LITELLM_KEY)


Ask = Callable[[str], Peer]


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_arrives_whole(ask: Ask, stream: bool) -> None:
    parts = await ask("words").parts({"n": 200, "reasoning": "let me see"}, stream=stream)
    assert text_of(parts) == "".join(f" w{number}" for number in range(200))
    assert "".join(part.text for part in parts if isinstance(part, ReasoningDelta)) == "let me see"
    assert [part.usage.total_tokens for part in parts if isinstance(part, UsagePart)][-1] == 203
    assert parts[-1] == FinishPart("stop", "words")


async def test_characters_survive(ask: Ask) -> None:
    deltas = ["Grüße ", "日", "本", "👩\u200d🚀", "\u2028\u0085", '"quoted\\"', "\n\n"]
    assert text_of(await ask("words").parts({"deltas": deltas})) == "".join(deltas)


async def test_calls_of_tools(ask: Ask, words: ModelServer) -> None:
    tool = FunctionTool(name="weather", description="how it is", parameters={"type": "object"})
    script = {"n": 2, "tool_calls": [CALL, {**CALL, "id": "c8"}]}
    parts = await ask("words").parts(script, tools=[tool])
    calls = [part for part in parts if isinstance(part, ToolCallPart)]
    assert calls == [ToolCallPart(id, "weather", CALL["arguments"]) for id in ("c7", "c8")]
    assert parts[-1] == FinishPart("tool_calls", "words")
    (sent,) = words.last()["body"]["tools"]
    assert (sent["function"]["name"], sent["function"]["description"]) == ("weather", "how it is")


async def test_results_of_tools_go_back(ask: Ask, words: ModelServer) -> None:
    result = {"role": "tool", "tool_call_id": "c7", "content": "rain"}
    messages = ["how is it?", {"role": "assistant", "tool_calls": [CALL]}, result]
    await ask("words").parts(messages)
    asked = words.last()["body"]["messages"]
    assert [message["role"] for message in asked] == ["user", "assistant", "tool"]
    assert asked[1]["tool_calls"][0]["id"] == asked[2]["tool_call_id"] == "c7"
    assert "rain" in str(asked[2]["content"])


async def test_parameters_arrive(ask: Ask, words: ModelServer) -> None:
    params = {"temperature": 0.5, "max_tokens": 50, "stop": ["END"], "top_p": 0.9}
    messages: list[Any] = [{"role": "system", "content": "be brief"}, "hello"]
    await ask("words").parts(messages, params=params)
    body = words.last()["body"]
    assert {name: body[name] for name in params} == params
    assert body["messages"][0]["role"] == "system"
    assert "be brief" in str(body["messages"][0]["content"])


async def test_a_canned_answer_of_a_model_with_a_difficult_name(ask: Ask) -> None:
    parts = await ask("said/so:once").parts(
        "hello"
    )  # in Anthropic's dialect a body, though a stream was asked
    assert text_of(parts) == "Grüße 日本 👩‍🚀"
    assert isinstance(parts[-1], FinishPart)


async def test_a_real_model_behind_it(ask: Ask) -> None:
    parts = await ask("tiny").parts("hello", params={"temperature": 0.0, "max_tokens": 12})
    assert len(text_of(parts)) >= 12
    assert isinstance(parts[-1], FinishPart)
    assert parts[-1].reason == "length"


@pytest.mark.parametrize(("status", "error"), [(429, RateLimitError), (503, ServerError)])
async def test_statuses(ask: Ask, status: int, error: type[PalaverError]) -> None:
    with pytest.raises(error) as raised:
        await ask("words").parts({"fail": {"status": status}})
    assert raised.value.status_code == status


async def test_an_error_in_the_middle_keeps_what_came(ask: Ask) -> None:
    found: list[Part] = []
    script = {"n": 9, "fail": {"kind": "error", "after": 5, "message": "fell over"}}
    with pytest.raises(PalaverError, match="fell over"):
        await ask("words").parts(script, found=found)
    assert re.fullmatch(r"( w\d)+", text_of(found))


async def test_what_it_refuses(kind: str, ask: Ask, litellm: str, peer: Callable[..., Peer]) -> None:
    with pytest.raises(PalaverError) as raised:
        await ask("nope").parts("hello")
    assert raised.value.status_code == 400
    with pytest.raises(PalaverError) as raised:
        await peer(kind, litellm, "words", api_key="sk-wrong-12345678").parts("hello")
    assert raised.value.status_code in (400, 401)
    assert "wrong" not in str(raised.value)


async def test_models(ask: Ask) -> None:
    assert set(await ask("words").provider.models() or []) == {"words", "tiny", "said/so:once"}
