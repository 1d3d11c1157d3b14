"""Jobs through the queue and a worker process to servers of others."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.peers.conftest import LITELLM_KEY
from tests.processes import Running
from tests.servers import RedisServer

TOML = """
[providers.gateway]
kind = "openai"
base_url = "{litellm}/v1"
api_key_env = "GATEWAY_KEY"
[providers.messages]
kind = "anthropic"
base_url = "{litellm}"
api_key_env = "GATEWAY_KEY"
[providers.local]
kind = "openai"
base_url = "{llama_cpp}/v1"
options = {{ flavour = "llamacpp" }}
[models]
all = ["local/tiny", "gateway/tiny"]
"""


class Turn(BaseModel):
    """What a grammar can hold the tiny model to."""

    model_config = ConfigDict(extra="forbid")

    sure: bool
    way: Literal["left", "right"]


@pytest.mark.redis
@pytest.mark.worker
def test_every_server_answers_jobs(
    redis_server: RedisServer,
    worker: Callable[..., Running],
    litellm: str,
    llama_cpp: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "palaver.toml").write_text(TOML.format(litellm=litellm, llama_cpp=llama_cpp))
    worker(env={"GATEWAY_KEY": LITELLM_KEY})
    params = {"temperature": 0.0, "max_tokens": 16}
    with Client(Settings(redis_url=redis_server.url)) as client:
        models = ["local/tiny", "gateway/tiny", "messages/tiny", "all"]
        handles = [client.submit("hello", model=model, params=params) for model in models]
        answers = [handle.result(timeout=60) for handle in handles]
        typed = [
            client.submit("which way?", model=model, params=params | {"max_tokens": 300}, response_model=Turn)
            for model in ("local/tiny", "gateway/tiny")
        ]
        turns = [handle.result(timeout=60).parsed for handle in typed]
        canned = client.submit("hello", model="messages/said/so:once", wait=True, timeout=60)
    assert {answer.finish_reason for answer in answers} == {"length"}
    # The same weights, asked in two dialects, directly and through a proxy.
    assert len({answer.content for answer in answers}) == 1
    assert all(isinstance(turn, Turn) for turn in turns)
    assert turns[0] == turns[1]
    assert [answer.provider for answer in answers] == ["local", "gateway", "messages", "local"]
    assert (canned.content, canned.model) == ("Grüße 日本 👩‍🚀", "said/so:once")
