"""The scripted provider and the registry."""

import asyncio
import contextlib
import json
from typing import Any

import pytest

from palaver.shared.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    MalformedStreamError,
    ModelNotFoundError,
    PalaverError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    TimeoutError,
    ValidationError,
)
from palaver.shared.jobs import Timeouts
from palaver.shared.messages import parse_messages
from palaver.shared.params import ChatParams
from palaver.shared.profiles import Profile
from palaver.workers.http import HttpClient
from palaver.workers.providers import (
    FinishPart,
    GenerationRequest,
    Part,
    Provider,
    ReasoningDelta,
    TextDelta,
    ToolCallPart,
    UsagePart,
    create,
    registry,
)


def scripted(**options: Any) -> Provider:
    return create(Profile(name="s", kind="scripted", options={"rate": 0, **options}), HttpClient())


async def play(
    messages: Any,
    *,
    model: str = "echo",
    provider: Provider | None = None,
    found: list[Part] | None = None,
    **fields: Any,
) -> list[Part]:
    parts: list[Part] = [] if found is None else found
    asked = json.dumps(messages) if isinstance(messages, dict) and "role" not in messages else messages
    request = GenerationRequest(model=model, messages=parse_messages(asked), **fields)
    async with contextlib.aclosing((provider or scripted()).stream(request)) as stream:
        async for batch in stream:
            parts.extend(batch)
    return parts


def text_of(parts: list[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextDelta))


async def test_echo_is_word_by_word_and_byte_for_byte() -> None:
    said = "  Hello\tbig\n\nworld 👩‍🚀 \n"
    parts = await play(said)
    assert [part.text for part in parts if isinstance(part, TextDelta)] == [
        "  Hello", "\tbig", "\n\nworld", " 👩‍🚀", " \n",
    ]  # fmt: skip
    assert text_of(parts) == said
    assert [part.usage.output_tokens for part in parts if isinstance(part, UsagePart)] == [5]
    assert parts[-1] == FinishPart("stop", "echo")


async def test_numbered_words() -> None:
    assert text_of(await play({"n": 3})) == " w0 w1 w2"
    assert text_of(await play({"n": 0})) == ""
    assert text_of(await play("x", model="numbers")).split()[-1] == "w19"


@pytest.mark.parametrize("cut", range(0, 40, 3))
async def test_a_prefix_is_gone_on_after(cut: int) -> None:
    whole = "".join(f" w{number}" for number in range(12))
    assert whole[:cut] + text_of(await play({"n": 12}, prefix=whole[:cut])) == whole
    said = "one two three four five six seven eight nine ten"
    assert said[:cut] + text_of(await play(said, prefix=said[:cut])) == said


async def test_a_request_to_continue_goes_on() -> None:
    messages = [json.dumps({"n": 5}), {"role": "assistant", "content": " w0 w1"}, "continue"]
    assert text_of(await play(messages)) == " w2 w3 w4"
    assert text_of(await play([*messages[:2], "hello"])) == "hello"


async def test_max_tokens_cuts() -> None:
    parts = await play({"n": 5}, params=ChatParams(max_tokens=2))
    assert text_of(parts) == " w0 w1"
    assert parts[-1] == FinishPart("length", "echo")


async def test_reasoning_tools_usage_and_deltas() -> None:
    script = {
        "deltas": ["a", "", "b"],
        "reasoning": "let me",
        "tool_calls": [{"name": "f", "arguments": {"x": 1}, "id": "c"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 0},
    }
    parts = await play(script)
    assert [part.text for part in parts if isinstance(part, ReasoningDelta)] == ["let", " me"]
    assert [part for part in parts if isinstance(part, ToolCallPart)] == [ToolCallPart("c", "f", {"x": 1})]
    assert [part.usage.total_tokens for part in parts if isinstance(part, UsagePart)] == [7]
    assert parts[-1] == FinishPart("tool_calls", "echo")
    silent = await play({"deltas": ["a", "b"], "usage": False, "finish_reason": "content_filter"})
    assert silent == [TextDelta("a"), TextDelta("b"), FinishPart("content_filter", "echo")]


async def test_a_tool_result_is_answered_with_text() -> None:
    call = {"role": "assistant", "tool_calls": [{"id": "c", "name": "f", "arguments": {}}]}
    result = {"role": "tool", "tool_call_id": "c", "content": "noon"}
    parts = await play(["what time is it?", call, result], model="tools")
    assert text_of(parts) == "noon"
    assert parts[-1] == FinishPart("stop", "tools")


async def test_rounds_answer_the_requests_of_a_job_in_turn() -> None:
    call = {"name": "f", "arguments": {}}
    script = {"usage": False, "rounds": [{"text": "I look", "tool_calls": [call]}, {"text": "I see"}]}
    asked: list[Any] = [json.dumps(script)]
    first = await play(asked)
    calling = ToolCallPart("call_0", "f", {})
    assert first == [TextDelta("I"), TextDelta(" look"), calling, FinishPart("tool_calls", "echo")]
    asked += [
        {"role": "assistant", "content": "I look", "tool_calls": [{"id": "call_0", **call}]},
        {"role": "tool", "tool_call_id": "call_0", "content": "a cat"},
    ]
    assert text_of(await play(asked)) == text_of(await play([*asked, asked[1], asked[2]])) == "I see"


async def test_rounds_go_on_when_asked_to_continue() -> None:
    script = {"rounds": [{"text": "one", "finish_reason": "length"}, {"text": "onetwo"}]}
    first = await play(script)
    assert (text_of(first), first[-1]) == ("one", FinishPart("length", "echo"))
    assert (
        text_of(await play([json.dumps(script), {"role": "assistant", "content": "one"}, "continue"]))
        == "onetwo"
    )


@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        ("status-401", AuthenticationError, ""),
        ("status-429", RateLimitError, ""),
        ("status-500", ServerError, ""),
        ("refused", ConnectionError, ""),
        ("timeout", TimeoutError, ""),
        ("cut", StreamInterruptedError, "a b c"),
        ("idle", TimeoutError, "a b c"),
        ("malformed", MalformedStreamError, "a b c"),
        ("error", ServerError, "a b c"),
        ("nothing", ModelNotFoundError, ""),
    ],
)
async def test_failures(model: str, error: type[PalaverError], said: str) -> None:
    found: list[Part] = []
    with pytest.raises(error) as raised:
        await play("a b c d e", model=model, found=found, timeouts=Timeouts(read=0.01))
    assert type(raised.value) is error
    assert raised.value.provider == "s"
    assert text_of(found) == said


async def test_what_a_request_does_not_say_of_timeouts_its_profile_says() -> None:
    profile = Profile(name="s", kind="scripted", timeouts=Timeouts(read=0.01, connect=2), options={"rate": 0})
    provider = create(profile, HttpClient())
    assert provider.timeouts(None) == profile.timeouts
    assert provider.timeouts(Timeouts(read=60)) == Timeouts(read=60, connect=2)
    with pytest.raises(TimeoutError, match=r"nothing came for 0\.01 s"):
        await play("a", model="idle", provider=provider, timeouts=Timeouts(connect=5, total=9))
    assert (Timeouts().read_seconds, Timeouts().connect_seconds) == (60, 60)


async def test_failures_can_end() -> None:
    provider = scripted()
    script = {"n": 2, "fail": {"status": 503, "times": 2, "retry_after": 3}}
    for _ in range(2):
        with pytest.raises(ServerError) as raised:
            await play(script, provider=provider)
        assert raised.value.retry_after == 3
    assert text_of(await play(script, provider=provider)) == " w0 w1"


async def test_scripts_of_the_profile() -> None:
    provider = scripted(scripts={"hello": {"text": "good morning"}})
    assert text_of(await play("x", model="hello", provider=provider)) == "good morning"
    assert text_of(await play({"text": "other"}, model="hello", provider=provider)) == "other"
    assert {"hello", "echo"} <= set(await provider.models() or [])
    assert (await provider.health()).ok


async def test_rate_and_start_are_kept() -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await play({"n": 5, "rate": 100, "start": 0.05})
    assert loop.time() - started >= 0.09


async def test_an_endless_answer_can_be_left() -> None:
    request = GenerationRequest(model="endless", messages=parse_messages("x"))
    count = 0
    async with contextlib.aclosing(scripted().stream(request)) as stream:
        async for _ in stream:
            count += 1
            if count == 1000:
                break
    assert count == 1000


async def test_wrong_scripts_are_named() -> None:
    with pytest.raises(ValidationError, match=r"script\.rate"):
        await play({"n": 1, "rate": -1})
    with pytest.raises(ValidationError, match=r"script\.speed"):
        await play({"n": 1, "speed": 1})
    assert text_of(await play('{"city": "Bern"}')) == '{"city": "Bern"}'
    wrong: tuple[dict[str, Any], ...] = ({"rate": "fast"}, {"scripts": []}, {"scripts": {"x": {"m": 1}}})
    for options in wrong:
        with pytest.raises(ConfigurationError, match="provider s: options"):
            scripted(**options)


class Own(Provider):
    """A provider of one's own."""

    async def stream(self, request: GenerationRequest) -> Any:
        yield [TextDelta("mine"), FinishPart("stop")]


async def test_a_provider_of_ones_own() -> None:
    provider = create(Profile(name="o", kind=f"{__name__}:Own"), HttpClient())
    assert text_of(await play("x", provider=provider)) == "mine"
    assert await provider.models() is None


@pytest.mark.parametrize("kind", ["nope", "no.such.module:Class", "json:Nope", "json:JSONDecoder"])
def test_wrong_kinds_are_named(kind: str) -> None:
    with pytest.raises(ConfigurationError, match=kind.partition(":")[0]):
        registry.create(Profile(name="o", kind=kind), HttpClient())


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_built_in_kind_is_there(kind: str) -> None:
    assert issubclass(registry.class_of(Profile(name="o", kind=kind)), Provider)
