"""Which part of a history fits."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.shared.jobs import ChatJob
from palaver.shared.messages import Message, Role
from palaver.shared.profiles import Profile
from palaver.shared.token_estimate import tokens_of
from palaver.shared.tools import FunctionTool
from palaver.workers.generation import answered
from palaver.workers.policies import Room, fitted, room_for


def user(text: str = "?") -> Message:
    return Message(role="user", content=text)


def said(text: str = "!") -> Message:
    return Message(role="assistant", content=text)


def called(*ids: str) -> list[Message]:
    calls = [{"id": id_, "name": "look", "arguments": {}} for id_ in ids]
    results = [Message(role="tool", content="seen", tool_call_id=id_) for id_ in ids]
    return [Message(role="assistant", content=None, tool_calls=calls), *results]


HISTORY = [user("one"), *called("a", "b"), said(), user("two"), said(), user("three"), *called("c"), said()]


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages if message.role is Role.USER]


@pytest.mark.parametrize(
    ("messages", "kept"),
    [(None, 3), (100, 3), (11, 3), (10, 2), (6, 2), (5, 1), (4, 1), (3, 0), (0, 0)],
)
def test_whole_turns_are_left_out_the_oldest_first(messages: int | None, kept: int) -> None:
    assert texts(fitted(HISTORY, Room(messages=messages))) == ["one", "two", "three"][3 - kept :]


def test_tokens_bound_it_too() -> None:
    last = tokens_of(HISTORY[-4:])
    assert texts(fitted(HISTORY, Room(tokens=last))) == ["three"]
    assert texts(fitted(HISTORY, Room(tokens=last - 1))) == []
    assert fitted(HISTORY, Room(tokens=tokens_of(HISTORY))) == HISTORY


def test_a_turn_that_is_still_answered_stays() -> None:
    history = [user("one"), said(), user("two"), called("a")[0]]
    assert fitted(history, Room(tokens=0)) == []
    assert texts(fitted(history, Room(tokens=0), keep_last=True)) == ["two"]


def test_several_messages_of_a_user_are_one_turn() -> None:
    history = [user("one"), said(), user("two"), user("and"), said()]
    assert texts(fitted(history, Room(messages=3))) == ["two", "and"]
    assert fitted(history, Room(messages=2)) == []


turn = st.builds(
    lambda words, ids: [user(words), *(called(*ids) if ids else []), said(words)],
    st.text(max_size=40),
    st.lists(st.text("abc", min_size=1, max_size=3), unique=True, max_size=3),
)


@given(st.lists(turn, max_size=8), st.integers(0, 200), st.integers(0, 20))
def test_it_is_a_whole_end_of_the_history_within_its_bounds(
    turns: list[list[Message]], tokens: int, messages: int
) -> None:
    history = [message for each in turns for message in each]
    kept = fitted(history, Room(tokens, messages))
    assert history[len(history) - len(kept) :] == kept
    assert tokens_of(kept) <= tokens
    assert len(kept) <= messages
    assert not kept or kept[0].role is Role.USER
    assert answered(kept, []) == kept  # no result without its call, no call without its result
    rest = history[: len(history) - len(kept)]
    if rest:  # one turn more would be too much
        start = max(place for place, message in enumerate(rest) if message.role is Role.USER)
        more = history[start:]
        assert tokens_of(more) > tokens or len(more) > messages


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("word " * 300, 500), ("雨の日も" * 100, 400), ("é" * 300, 200)],
)
def test_tokens_are_estimated_too_many_rather_than_too_few(text: str, tokens: int) -> None:
    """Of English 1.3 tokens a word are usual, of Japanese about one a character."""
    assert tokens_of([user(text)]) == tokens + 8


def test_tools_images_calls_and_thoughts_count() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    assert 1500 < tokens_of([Message(role="user", content=[image])]) < 2000
    assert tokens_of([], [FunctionTool(name="look", description="x" * 300)]) > 100
    assert tokens_of(called("a")[:1]) > tokens_of([said("")])
    assert tokens_of([Message(role="assistant", content="", reasoning="x" * 300)]) == 108


def room(context: int | None, others: int = 0, **fields: Any) -> Room:
    return room_for(ChatJob(messages="?", **fields), context, others)


def test_the_room_is_what_is_left_of_the_context() -> None:
    assert room(None) == Room()
    assert room(8000, 1000) == Room(tokens=8000 - 2000 - 1000)
    assert room(100_000, 1000) == Room(tokens=100_000 - 4096 - 1000)
    assert room(8000, 1000, params={"max_tokens": 500}) == Room(tokens=6500)
    assert room(100, 1000) == Room(tokens=0)


def test_the_job_may_want_less() -> None:
    assert room(None, history_limit={"messages": 4}) == Room(messages=4)
    assert room(8000, 1000, history_limit={"tokens": 100}) == Room(tokens=100)
    assert room(8000, 7000, history_limit={"tokens": 100_000, "messages": 2}) == Room(tokens=0, messages=2)


def test_a_profile_knows_its_models_contexts() -> None:
    assert Profile(name="a", kind="openai", context=8192).context_of("m") == 8192
    some = Profile(name="a", kind="openai", context={"m": 8192})
    assert (some.context_of("m"), some.context_of("n")) == (8192, None)
