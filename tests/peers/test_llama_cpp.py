"""Both servers of llama.cpp, its own and llama-cpp-python's, with a model that makes no sense."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from palaver.shared.errors import StreamInterruptedError, ValidationError
from palaver.workers.providers import FinishPart, MetadataPart, Part, UsagePart, WarningPart
from tests.integration.providers.conftest import text_of
from tests.peers.conftest import Peer

GREEDY = {"temperature": 0.0, "max_tokens": 24}
LETTER_A = 3 + 256 + ord("a") - 32
"""A token of the tiny model."""
SCHEMA = {
    "type": "object",
    "properties": {"sure": {"type": "boolean"}, "way": {"enum": ["left", "right"]}},
    "required": ["sure", "way"],
    "additionalProperties": False,
}


@pytest.fixture(params=["llamacpp", "llama-cpp-python", "anthropic"])
def flavour(request: pytest.FixtureRequest) -> str:
    """Both servers in OpenAI's dialect; the first in Anthropic's too."""
    return str(request.param)


@pytest.fixture
def tiny(flavour: str, peer: Callable[..., Peer], request: pytest.FixtureRequest) -> Peer:
    server = "llama_cpp_python" if flavour == "llama-cpp-python" else "llama_cpp"
    url = request.getfixturevalue(server)
    if flavour == "anthropic":
        return peer("anthropic", url, "tiny")
    return peer("openai", url, "tiny", options={"flavour": flavour})


def warned(parts: list[Part]) -> list[str | None]:
    return [part.param for part in parts if isinstance(part, WarningPart)]


async def test_a_stream_says_what_a_whole_answer_says(tiny: Peer, flavour: str) -> None:
    streamed = await tiny.parts("hello", params=GREEDY)
    whole = await tiny.parts("hello", params=GREEDY, stream=False)
    assert text_of(streamed) == text_of(whole) != ""
    assert streamed[-1] == whole[-1] == FinishPart("length", "tiny")
    counts = [part.usage for part in streamed if isinstance(part, UsagePart)]
    if flavour == "llama-cpp-python":
        assert counts == []  # it has none in streams, whatever it is asked
    else:
        assert counts[-1].output_tokens == 24
        assert counts[-1].input_tokens
    assert warned(streamed) == []


async def test_stop(tiny: Peer) -> None:
    said = text_of(await tiny.parts("hello", params=GREEDY))
    parts = await tiny.parts("hello", params={**GREEDY, "stop": said[5:8]})
    assert text_of(parts) == said[: said.index(said[5:8])]
    assert isinstance(parts[-1], FinishPart)
    assert parts[-1].reason == "stop"


async def test_seed(tiny: Peer, flavour: str) -> None:
    params = {"temperature": 1.0, "max_tokens": 24, "seed": 7, "top_k": 50}
    first, second = [await tiny.parts("hello", params=params) for _ in range(2)]
    if flavour == "anthropic":
        assert warned(first) == ["seed"]
    else:
        assert text_of(first) == text_of(second)
        assert warned(first) == []


async def test_logit_bias(tiny: Peer, flavour: str) -> None:
    parts = await tiny.parts("hello", params={**GREEDY, "max_tokens": 4, "logit_bias": {LETTER_A: 100}})
    if flavour == "anthropic":
        assert warned(parts) == ["logit_bias"]
    else:
        assert text_of(parts) == "aaaa"


async def test_a_schema_or_what_comes_near_it(tiny: Peer, flavour: str) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    parts = await tiny.parts("hello", params={**GREEDY, "max_tokens": 200, "response_format": wanted})
    if flavour == "llamacpp":
        answer = json.loads(text_of(parts))
        assert answer.keys() == {"sure", "way"}
        assert answer["way"] in ("left", "right")
    elif flavour == "llama-cpp-python":
        assert warned(parts) == ["response_format"]
        assert text_of(parts).lstrip().startswith("{")


async def test_several_answers(tiny: Peer, flavour: str) -> None:
    parts = await tiny.parts("hello", params={**GREEDY, "n": 3}, stream=False)
    others = [choice for part in parts if isinstance(part, MetadataPart) for choice in part.data["choices"]]
    if flavour == "llamacpp":
        assert [choice["content"] for choice in others] == [text_of(parts)] * 2
    else:
        assert (others, warned(parts)) == ([], ["n"])


async def test_what_does_not_fit_is_told(tiny: Peer, flavour: str) -> None:
    if flavour == "llama-cpp-python":  # which answers with a stream that is empty
        with pytest.raises(StreamInterruptedError):
            await tiny.parts("too much " * 1000, params=GREEDY)
    else:
        with pytest.raises(ValidationError, match="context") as raised:
            await tiny.parts("too much " * 1000, params=GREEDY)
        assert raised.value.status_code == 400


async def test_models(tiny: Peer, flavour: str) -> None:
    if flavour == "anthropic":
        return  # llama.cpp has OpenAI's list at this address
    assert await tiny.provider.models() == ["tiny"]
    assert (await tiny.provider.health()).ok
    shown = await tiny.provider.show("tiny")
    assert shown.context_length == (1024 if flavour == "llamacpp" else None)


@pytest.mark.parametrize("flavour", ["llamacpp"], indirect=True)
@pytest.mark.parametrize("cut", [1, 7, 20])
async def test_an_answer_goes_on_after_its_prefix(tiny: Peer, cut: int) -> None:
    assert tiny.provider.continues_prefix
    said = text_of(await tiny.parts("hello", params=GREEDY))
    rest: dict[str, Any] = {**GREEDY, "max_tokens": 24 - cut}
    parts = await tiny.parts("hello", params=rest, prefix=said[:cut])
    assert said[:cut] + text_of(parts) == said
