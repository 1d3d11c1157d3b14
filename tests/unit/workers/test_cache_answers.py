"""What the cache tells requests apart by, and that what it keeps says the same again."""

from dataclasses import fields, replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.shared.jobs import Timeouts
from palaver.shared.messages import Message
from palaver.shared.params import ChatParams, ReasoningOptions
from palaver.shared.profiles import Profile
from palaver.shared.responses import Usage
from palaver.shared.tools import FunctionTool, ToolChoice
from palaver.workers.cache.answers import ASIDE, PIECE, Recording, digest_of, parts_of
from palaver.workers.providers import (
    Caching,
    FinishPart,
    GenerationRequest,
    MessagePart,
    MetadataPart,
    Part,
    RawPart,
    ReasoningDelta,
    TextDelta,
    ToolCallPart,
    UsagePart,
    WarningPart,
)

PROFILE = Profile(name="p", kind="openai", base_url="http://a/v1")
REQUEST = GenerationRequest(
    model="m", messages=[Message(role="user", content="the question")], cache=Caching(tenant="t")
)
LIMIT = 10_000
LOOK = FunctionTool.model_validate({"name": "look", "parameters": {"type": "object"}})

OTHER_REQUESTS: list[dict[str, Any]] = [
    {"model": "n"},
    {"messages": [Message(role="user", content="the question ")]},
    {"messages": [Message(role="system", content="be brief"), *REQUEST.messages]},
    {"params": ChatParams(temperature=0.5)},
    {"params": ChatParams(extra={"x": 1})},
    {"tools": [LOOK]},
    {"tool_choice": ToolChoice(mode="none")},
    {"parallel_tool_calls": False},
    {"reasoning": ReasoningOptions(effort="high")},
    {"stream": False},
    {"cache": Caching(tenant="u")},
    {"cache": Caching()},
]
OTHER_PROFILES: list[dict[str, Any]] = [
    {"name": "q"},
    {"kind": "ollama"},
    {"base_url": "http://b/v1"},
    {"options": {"think_tags": True}},
]


class Sunk:
    """A sink that takes everything."""

    def take(self, parts: list[Part]) -> bool:
        return True

    async def room(self) -> None:
        return


def kept(*parts: Part, limit: int = LIMIT) -> bytes | None:
    recording = Recording(Sunk(), limit)
    for part in parts:
        recording.take([part])
    return recording.answer()


def again(*parts: Part) -> list[Part]:
    answer = kept(*parts)
    assert answer is not None
    found = parts_of(answer)
    assert found is not None
    return found


def said(parts: list[Part], kind: type) -> str:
    return "".join(part.text for part in parts if isinstance(part, kind))  # type: ignore[union-attr]


@pytest.mark.parametrize("other", OTHER_REQUESTS, ids=repr)
def test_another_request_has_another_digest(other: dict[str, Any]) -> None:
    assert digest_of(PROFILE, replace(REQUEST, **other)) != digest_of(PROFILE, REQUEST)


def test_every_field_of_a_request_tells_it_apart_or_stands_aside() -> None:
    told = {name for other in OTHER_REQUESTS for name in other}
    assert told | ASIDE == {field.name for field in fields(GenerationRequest)}


@pytest.mark.parametrize("other", OTHER_PROFILES, ids=repr)
def test_another_profile_has_another_digest(other: dict[str, Any]) -> None:
    assert digest_of(PROFILE.model_copy(update=other), REQUEST) != digest_of(PROFILE, REQUEST)


@pytest.mark.parametrize(
    "same",
    [
        {"messages": [Message(role="user", content="the question", metadata={"job_id": "j"})]},
        {"timeouts": Timeouts(read=5)},
        {"cache": Caching(tenant="t", ttl=5)},
    ],
    ids=repr,
)
def test_what_is_not_sent_changes_nothing(same: dict[str, Any]) -> None:
    digest = digest_of(PROFILE, REQUEST)
    assert digest_of(PROFILE, replace(REQUEST, **same)) == digest
    assert len(digest) == 64
    assert set(digest) <= set("0123456789abcdef")


deltas = st.lists(
    st.builds(TextDelta, st.text(max_size=200)) | st.builds(ReasoningDelta, st.text(max_size=9))
)


@given(deltas)
def test_the_same_is_said_again(parts: list[Part]) -> None:
    parts = [TextDelta("x"), *parts, FinishPart("stop", "m-1")]
    found = again(*parts)
    for kind in (TextDelta, ReasoningDelta):
        assert said(found, kind) == said(parts, kind)
    assert found[-1] == parts[-1]
    assert len(found) <= len(parts) + 1


def test_words_are_joined_to_pieces_in_their_order() -> None:
    words = [TextDelta(f" word{n}") for n in range(100)]
    pieces = again(ReasoningDelta("hm"), *words, FinishPart("stop"))
    assert pieces[0] == ReasoningDelta("hm")
    lengths = [len(part.text) for part in pieces if isinstance(part, TextDelta)]
    assert len(lengths) > 2
    assert all(PIECE <= length < PIECE + 8 for length in lengths[:-1])


def test_all_else_is_kept_too_and_the_usage_is_marked() -> None:
    others: list[Part] = [
        WarningPart("left_out", "no such thing", "top_k"),
        MessagePart({"thinking_blocks": [{"signature": "s"}]}),
        MetadataPart({"choices": [1]}),
        RawPart(b'{"id": 1}'),
    ]
    raw = [TextDelta("a", b'{"n":1}'), TextDelta("b", b'{"n":2}')]
    usage = Usage(input_tokens=3, output_tokens=2, details={"x": 1})
    found = again(*raw, *others, UsagePart(usage), FinishPart("stop", "m-1"))
    marked = usage.model_copy(update={"from_cache": True, "cost": 0.0})
    assert found == [*raw, *others, UsagePart(marked), FinishPart("stop", "m-1")]
    assert again(TextDelta("a"), FinishPart("stop"))[1] == UsagePart(Usage(from_cache=True, cost=0.0))


@pytest.mark.parametrize(
    "parts",
    [
        [TextDelta("cut")],
        [TextDelta("too long"), FinishPart("length")],
        [TextDelta("hidden"), FinishPart("content_filter")],
        [TextDelta("let me see"), ToolCallPart("c", "look", {}), FinishPart("tool_calls")],
        [TextDelta("let me see"), ToolCallPart("c", "look", {}), FinishPart("stop")],
        [TextDelta("cut?"), WarningPart("missing_finish_reason", "may be cut off"), FinishPart("stop")],
        [TextDelta("cut?"), WarningPart("unknown_finish_reason", "taken as stop"), FinishPart("stop")],
        [FinishPart("stop")],
        [TextDelta("x" * LIMIT), FinishPart("stop")],
        [TextDelta("é" * (LIMIT * 2 // 3)), FinishPart("stop")],
        [TextDelta("x" * LIMIT), TextDelta("x"), TextDelta("x"), FinishPart("stop")],
        [TextDelta("x"), RawPart(b"x" * LIMIT), FinishPart("stop")],
    ],
    ids=repr,
)
def test_what_is_not_kept(parts: list[Part]) -> None:
    assert kept(*parts) is None


@pytest.mark.parametrize("wrong", [b"", b"{", b"[]", b'[{"type":"text","text":"x"}]', b'[{"type":"new"}]'])
def test_what_is_no_answer_is_none(wrong: bytes) -> None:
    assert parts_of(wrong) is None


def test_marks_that_a_provider_makes_are_details() -> None:
    from palaver.workers.providers.wire import usage_part

    part = usage_part({"prompt_tokens": 1, "completion_tokens": 2, "from_cache": True, "cost": 7})
    assert part is not None
    assert (part.usage.from_cache, part.usage.details) == (False, {"from_cache": True, "cost": 7})
    assert not {"from_cache", "estimated", "cost"} & orjson.loads(Usage(input_tokens=1).to_json()).keys()
    assert orjson.loads(Usage(from_cache=True).to_json())["from_cache"] is True
