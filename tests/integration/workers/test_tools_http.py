"""Rounds with a model server over HTTP, in each dialect: what it is told of calls, results and continues."""

from typing import Any

import pytest

from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.integration.workers.test_engine import end_of, kinds
from tests.model_server import ModelServer

pytestmark = pytest.mark.redis

CALLS = [
    {"id": "a", "name": "add", "arguments": {"a": 2, "b": 3}},
    {"id": "b", "name": "broken", "arguments": {}},
]
SCRIPT = {"rounds": [{"deltas": ["Well. "], "reasoning": "Hm.", "tool_calls": CALLS}, {"deltas": ["Five."]}]}
TOOLS = [{"name": "add"}, {"name": "broken"}]
FAILED = "Error executing broken: RuntimeError"

OPENAI: list[dict[str, Any]] = [
    {
        "role": "assistant",
        "content": "Well. ",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"a":2,"b":3}'}},
            {"id": "b", "type": "function", "function": {"name": "broken", "arguments": "{}"}},
        ],
    },
    {"role": "tool", "content": "5", "name": "add", "tool_call_id": "a"},
    {"role": "tool", "content": FAILED, "name": "broken", "tool_call_id": "b"},
]
OLLAMA: list[dict[str, Any]] = [
    {
        "role": "assistant",
        "content": "Well. ",
        "tool_calls": [
            {"function": {"name": "add", "arguments": {"a": 2, "b": 3}}},
            {"function": {"name": "broken", "arguments": {}}},
        ],
    },
    {"role": "tool", "content": "5", "tool_name": "add"},
    {"role": "tool", "content": FAILED, "tool_name": "broken"},
]
ANTHROPIC: list[dict[str, Any]] = [
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "text", "text": "Well. "},
            {"type": "tool_use", "id": "a", "name": "add", "input": {"a": 2, "b": 3}},
            {"type": "tool_use", "id": "b", "name": "broken", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "5"},
            {"type": "tool_result", "tool_use_id": "b", "content": FAILED, "is_error": True},
        ],
    },
]
SENT = {"openai": OPENAI, "ollama": OLLAMA, "claude": ANTHROPIC}


@pytest.fixture
async def engine(server: ModelServer, make_engine: MakeEngine) -> Engine:
    profiles = {
        "openai": {"kind": "openai", "base_url": server.openai_url},
        "ollama": {"kind": "ollama", "base_url": server.ollama_url},
        "claude": {"kind": "anthropic", "base_url": server.origin},
    }
    return await make_engine(profiles=profiles, tools="tests.integration.workers.user_tools")


@pytest.mark.parametrize("profile", SENT)
async def test_calls_and_results_go_back_as_the_dialect_wants_them(
    engine: Engine, server: ModelServer, profile: str
) -> None:
    events = await engine.answer(SCRIPT, model=f"{profile}/m", tools=TOOLS, reasoning=True)
    response = end_of(events)["response"]
    assert (response["content"], response["reasoning"]) == (text_of(events), "Hm.") == ("Well. Five.", "Hm.")
    assert (kinds(events).count("tool_call"), kinds(events).count("tool_result")) == (2, 2)
    asked = server.last()["body"]
    assert asked["messages"][1:] == SENT[profile]
    assert len(asked["tools"]) == 2
    assert server.stats()["requests"] == 2


@pytest.mark.parametrize("profile", SENT)
async def test_a_truncated_answer_goes_on_in_every_dialect(
    engine: Engine, server: ModelServer, profile: str
) -> None:
    script = {"n": 10, "limit": 4}
    events = await engine.answer(script, model=f"{profile}/m", complete={"continue_prompt": "Go on."})
    words = "".join(f" w{n}" for n in range(10))
    assert end_of(events)["response"]["content"] == text_of(events) == words
    assert end_of(events)["usage"]["output_tokens"] == 10
    asked = [(message["role"], message["content"]) for message in server.last()["body"]["messages"][1:]]
    assert asked == [
        ("assistant", " w0 w1 w2 w3"),
        ("user", "Go on."),
        ("assistant", " w4 w5 w6 w7"),
        ("user", "Go on."),
    ]
