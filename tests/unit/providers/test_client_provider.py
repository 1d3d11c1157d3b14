"""A provider of one's own: the README's example, and what a client is asked and may answer."""

import asyncio
import re
import sys
from abc import abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver.shared import ChatClient, ChatResponse
from palaver.shared.errors import (
    AuthenticationError,
    ChatClientError,
    ConfigurationError,
    ConnectionError,
    TimeoutError,
)
from palaver.shared.jobs import Timeouts
from palaver.shared.messages import parse_messages
from palaver.shared.params import ChatParams, ReasoningOptions
from palaver.shared.profiles import Profile
from palaver.shared.tools import FunctionTool
from palaver.workers.http import HttpClient
from palaver.workers.providers import (
    FinishPart,
    GenerationRequest,
    MetadataPart,
    Part,
    Provider,
    ReasoningDelta,
    TextDelta,
    ToolCallPart,
    UsagePart,
    WarningPart,
    close,
    create,
)
from tests.processes import ROOT

PAGE = ROOT / "workers" / "palaver" / "workers" / "providers" / "README.md"


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


class Own(ChatClient):
    """Keeps what it is asked, and answers as it is told."""

    def __init__(self, answer: str = "one two", fail: str = "", **given: Any) -> None:
        self.answer, self.fail, self.given = answer, fail, given
        self.asked: Any = ()
        self.closed = self.streaming = False

    async def chat(self, prompt: str, system_prompt: str | None = None, **kwargs: Any) -> ChatResponse:
        self.asked = ("chat", prompt, system_prompt, kwargs)
        if self.fail == "refused":
            return ChatResponse.failed(AuthenticationError("who are you? key-12345678"))
        if self.fail == "bug":
            raise KeyError(prompt)
        if self.fail == "no response":
            return "12345678"  # type: ignore[return-value]
        if self.fail == "untold":
            return ChatResponse(success=False, error="no")
        call = {"id": "c", "name": "f", "arguments": {"x": 1}}
        usage = {"input_tokens": 1, "output_tokens": 2}
        return ChatResponse(
            content=self.answer,
            reasoning="hm",
            tool_calls=[call] if "tools" in kwargs else [],
            usage=usage,
            model="own-1",
            metadata={"note": 5},
        )

    async def stream_chat(self, prompt: str, system_prompt: str | None = None, **kwargs: Any) -> Any:
        self.asked = ("stream_chat", prompt, system_prompt, kwargs)
        self.streaming = True
        try:
            for word in ("", *self.answer.split()):
                yield word
            if self.fail == "late":
                raise ChatClientError("gone")
            if self.fail == "refused":
                raise ConnectionRefusedError("key-12345678 is refused")
            if self.fail == "bug":
                raise KeyError(prompt)
            if self.fail == "no text":
                yield b"12345678"
            if self.fail == "silent":
                await asyncio.Event().wait()
        finally:
            self.streaming = False

    async def analyze_text(self, text: str, analysis_type: str = "general", **kwargs: Any) -> ChatResponse:
        return await self.chat(text)

    async def batch_process(self, prompts: Any, **kwargs: Any) -> list[ChatResponse]:
        return [await self.chat(prompt) for prompt in prompts]

    async def health_check(self) -> ChatResponse:
        if self.fail:
            return ChatResponse.failed(AuthenticationError("who are you?"))
        return ChatResponse(metadata={"latency_ms": 7})

    async def aclose(self) -> None:
        self.closed = True


def own(http: HttpClient, **fields: Any) -> tuple[Provider, Own]:
    provider = create(Profile(**{"name": "o", "kind": f"{__name__}:Own", **fields}), http)
    client: Own = provider.client  # type: ignore[attr-defined]
    return provider, client


async def parts_of(provider: Provider, messages: Any = "hi", **fields: Any) -> list[Part]:
    request = GenerationRequest(model="m", messages=parse_messages(messages), **fields)
    return [part async for parts in provider.stream(request) for part in parts]


async def test_the_readmes_example_answers(
    http: HttpClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len([line for line in example.splitlines() if line.strip()]) <= 20
    (tmp_path / "parrot.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "parrot", raising=False)
    provider = create(Profile(name="bird", kind="parrot:Parrot", options={"sound": "Hello!"}), http)
    parts = await parts_of(provider, "who are you")
    assert "".join(part.text for part in parts if isinstance(part, TextDelta)) == "Hello! who are you "
    assert parts[-1] == FinishPart("stop", "m")
    assert (await provider.health()).ok


async def test_what_it_is_asked(http: HttpClient) -> None:
    provider, client = own(http)
    assert await parts_of(provider) == [TextDelta("one"), TextDelta("two"), FinishPart("stop", "m")]
    assert client.asked == ("stream_chat", "hi", None, {"model": "m"})
    history: list[Any] = [
        {"role": "system", "content": "be brief"},
        "one",
        {"role": "assistant", "content": "1"},
    ]
    params = ChatParams(temperature=0.5, extra={"style": "loud"}, include_usage=False)
    await parts_of(provider, [*history, "two"], params=params, reasoning=ReasoningOptions())
    _, prompt, system, more = client.asked
    assert (prompt, system) == ("two", "be brief")
    assert [message["role"] for message in more.pop("messages")] == ["system", "user", "assistant", "user"]
    assert more.pop("reasoning")["enabled"] is True
    assert more == {"model": "m", "temperature": 0.5, "style": "loud"}


async def test_it_has_no_words_of_a_provider_to_be_kept(http: HttpClient) -> None:
    provider, client = own(http)
    parts = await parts_of(provider, params=ChatParams(return_raw_events=True))
    assert [part.param for part in parts if isinstance(part, WarningPart)] == ["return_raw_events"]
    parts = await parts_of(provider, params=ChatParams(return_raw=True), stream=False)
    assert [part.param for part in parts if isinstance(part, WarningPart)] == ["return_raw"]
    assert client.asked[3] == {"model": "m"}


async def test_a_prefix_is_the_last_message(http: HttpClient) -> None:
    provider, client = own(http, resume="prefix")
    await parts_of(provider, prefix="so far")
    assert client.asked[3]["messages"][-1] == {"role": "assistant", "content": "so far"}


async def test_a_whole_answer_has_more_than_text(http: HttpClient) -> None:
    provider, client = own(http)
    parts = await parts_of(provider, tools=[FunctionTool(name="f")])
    assert client.asked[0] == "chat"
    assert parts[0] == ReasoningDelta("hm")
    assert parts[1] == TextDelta("one two")
    assert parts[2] == ToolCallPart("c", "f", {"x": 1})
    assert [part.usage.total_tokens for part in parts if isinstance(part, UsagePart)] == [3]
    assert [part.data for part in parts if isinstance(part, MetadataPart)] == [{"note": 5}]
    assert parts[-1] == FinishPart("tool_calls", "own-1")
    assert (await parts_of(provider, stream=False))[-1] == FinishPart("stop", "own-1")


@pytest.mark.parametrize(
    ("fail", "fields", "error"),
    [
        ("late", {}, ChatClientError),
        ("refused", {}, ConnectionError),
        ("silent", {"timeouts": Timeouts(read=0.05)}, TimeoutError),
        ("refused", {"stream": False}, AuthenticationError),
        ("untold", {"stream": False}, ChatClientError),
        ("bug", {}, ChatClientError),
        ("bug", {"stream": False}, ChatClientError),
        ("no text", {}, ChatClientError),
        ("no response", {"stream": False}, ChatClientError),
    ],
)
async def test_failures(http: HttpClient, fail: str, fields: dict[str, Any], error: type[Exception]) -> None:
    provider, _ = own(http, options={"fail": fail}, api_key="key-12345678")
    with pytest.raises(error) as raised:
        await parts_of(provider, **fields)
    assert getattr(raised.value, "provider", None) == "o"
    assert "12345678" not in str(raised.value)


@pytest.mark.parametrize("kind", ["Awaited", "Plain"])
async def test_a_stream_is_an_async_generator(http: HttpClient, kind: str) -> None:
    provider = create(Profile(name="o", kind=f"{__name__}:{kind}"), http)
    with pytest.raises(ChatClientError, match=f"{kind} is no async generator"):
        await parts_of(provider)


async def test_a_bug_is_told_in_the_log_without_its_text(
    http: HttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    provider, _ = own(http, options={"fail": "bug"})
    with pytest.raises(ChatClientError, match=r"stream_chat of .*:Own raised KeyError; .* log"):
        await parts_of(provider, "canary")
    assert "client.failed profile=o error=KeyError" in caplog.text
    assert "in stream_chat" in caplog.text
    assert "canary" not in caplog.text


async def test_what_fails_at_the_end_is_only_told(http: HttpClient, caplog: pytest.LogCaptureFixture) -> None:
    await close(create(Profile(name="o", kind=f"{__name__}:Stuck"), http))
    assert "client.failed" in caplog.text


async def test_a_health_check_that_is_wrong_is_no_good_health(http: HttpClient) -> None:
    for kind, told in (("Stuck", "raised RuntimeError"), ("Sure", "no ChatResponse")):
        health = await create(Profile(name="o", kind=f"{__name__}:{kind}"), http).health()
        assert isinstance(health.error, ChatClientError)
        assert told in health.error.message


async def test_leaving_a_stream_ends_the_clients(http: HttpClient) -> None:
    provider, client = own(http, options={"fail": "silent"})
    spoken = asyncio.Event()

    class Listening:
        def take(self, parts: list[Part]) -> bool:
            spoken.set()
            return True

        async def room(self) -> None:
            return

    request = GenerationRequest(model="m", messages=parse_messages("hi"))
    asking = asyncio.create_task(provider.answer(request, Listening()))
    await spoken.wait()
    assert client.streaming
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    assert not client.streaming


async def test_health_and_end(http: HttpClient) -> None:
    provider, client = own(http)
    health = await provider.health()
    assert (health.ok, health.latency_ms) == (True, 7)
    await provider.aclose()
    assert client.closed
    sick = await own(http, options={"fail": "x"})[0].health()
    assert isinstance(sick.error, AuthenticationError)


async def test_how_it_is_made(http: HttpClient) -> None:
    _, client = own(http, base_url="http://x/", api_key="k", options={"answer": "a", "more": 1})
    assert client.given == {"base_url": "http://x", "api_key": "k", "more": 1}


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("Strict", "unexpected keyword argument 'tone'"),
        ("Half", "chat"),
        ("Unmade", "Unmade cannot be made: ValueError$"),
    ],
)
async def test_one_that_cannot_be_made(http: HttpClient, kind: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as raised:
        create(Profile(name="o", kind=f"{__name__}:{kind}", options={"tone": 1}), http)
    assert raised.value.provider == "o"


class Awaited(Own):
    """Gives a generator, but only when it is awaited."""

    async def stream_chat(  # type: ignore[override]
        self, prompt: str, system_prompt: str | None = None, **kwargs: Any
    ) -> Any:
        return super().stream_chat(prompt)


class Plain(Own):
    """Gives a list."""

    def stream_chat(self, prompt: str, system_prompt: str | None = None, **kwargs: Any) -> Any:
        return ["one"]


class Stuck(Own):
    """Cannot say how it is, and cannot end."""

    async def health_check(self) -> ChatResponse:
        raise RuntimeError("key-12345678")

    async def aclose(self) -> None:
        raise RuntimeError("key-12345678")


class Sure(Own):
    """Says that it is well in words of its own."""

    async def health_check(self) -> ChatResponse:
        return True  # type: ignore[return-value]


class Unmade(Own):
    """Does not like what it is told."""

    def __init__(self, **given: Any) -> None:
        raise ValueError("key-12345678")


class Strict(Own):
    """Takes nothing."""

    def __init__(self) -> None:
        super().__init__()


class Half(Own):
    """Has not all that a client needs."""

    @abstractmethod
    async def chat(self, prompt: str, system_prompt: str | None = None, **kwargs: Any) -> ChatResponse: ...
