"""Calls of tools: by a real model, which its server's grammar keeps to the tool's schema; and with a server
of tools that others wrote.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palaver.producer import Client
from palaver.shared.settings import Settings
from palaver.shared.tools import FunctionTool, ToolChoice
from palaver.workers.providers import FinishPart, ToolCallPart
from tests.model_server import ModelServer
from tests.peers.conftest import LITELLM_KEY, PEERS, Peer
from tests.processes import Running
from tests.servers import RedisServer

TURN = FunctionTool(
    name="turn",
    description="Turn to a side.",
    parameters={
        "type": "object",
        "properties": {"way": {"enum": ["left", "right"]}, "far": {"type": "boolean"}},
        "required": ["way", "far"],
        "additionalProperties": False,
    },
)
TOML = """
[providers.openai]
kind = "openai"
base_url = "{litellm}/v1"
api_key_env = "GATEWAY_KEY"
[providers.messages]
kind = "anthropic"
base_url = "{litellm}"
api_key_env = "GATEWAY_KEY"
[mcp.clock]
command = "{clock}"
args = ["--local-timezone", "Europe/Zurich"]
"""


@pytest.mark.parametrize("stream", [True, False])
async def test_a_model_calls_a_tool_by_its_schema(
    calling_llama_cpp_python: str, peer: Callable[..., Peer], stream: bool
) -> None:
    options = {"flavour": "llama-cpp-python"}
    tiny = peer("openai", calling_llama_cpp_python, "tiny", options=options)
    parts = await tiny.parts(
        "where to?",
        tools=[TURN],
        tool_choice=ToolChoice(mode="function", name="turn"),
        params={"temperature": 0.0, "max_tokens": 200},
        stream=stream,
    )
    (call,) = [part for part in parts if isinstance(part, ToolCallPart)]
    assert call.name == "turn"
    assert isinstance(call.arguments, dict)
    assert call.arguments.keys() == {"way", "far"}
    assert call.arguments["way"] in ("left", "right")
    assert isinstance(call.arguments["far"], bool)
    assert isinstance(parts[-1], FinishPart)
    assert parts[-1].reason == "tool_calls"


@pytest.mark.redis
@pytest.mark.worker
def test_a_server_of_tools_answers_through_a_gateway(
    redis_server: RedisServer,
    worker: Callable[..., Running],
    litellm: str,
    words: ModelServer,
    tmp_path: Path,
) -> None:
    clock = PEERS / "bin" / "mcp-server-time"
    (tmp_path / "palaver.toml").write_text(TOML.format(litellm=litellm, clock=clock))
    worker(env={"GATEWAY_KEY": LITELLM_KEY}).wait_for("mcp.connected server=clock tools=2")
    asks = {"source_timezone": "Europe/Zurich", "time": "12:30", "target_timezone": "Asia/Kathmandu"}
    call = {"id": "c1", "name": "clock__convert_time", "arguments": asks}
    script = json.dumps(
        {"rounds": [{"deltas": ["Let me see. "], "tool_calls": [call]}, {"deltas": ["Noted."]}]}
    )
    with Client(Settings(redis_url=redis_server.url)) as client:
        for profile in ("openai", "messages"):
            handle = client.submit(script, model=f"{profile}/words", tools=[{"name": "clock__*"}])
            results: list[Any] = [event.data for event in handle.events() if event.type == "tool_result"]
            assert handle.result(timeout=60).content == "Let me see. Noted."
            (result,) = results
            assert not result.is_error
            assert json.loads(result.content)["target"]["timezone"] == "Asia/Kathmandu"
            asked = words.last()["body"]
            assert {tool["function"]["name"] for tool in asked["tools"]} == {
                "clock__convert_time",
                "clock__get_current_time",
            }
            assert result.content in str(asked["messages"][-1]["content"])
