"""Messages: what is taken, what is refused, and that nothing of it changes."""

from typing import Any

import orjson
import pytest
from hypothesis import given

from palaver.shared import ChatInput, Message, Role, ToolCall, UserMessage, parse_messages
from palaver.shared.errors import ValidationError
from palaver.shared.messages import parse_history

from .strategies import messages

SECRET = "the secret prompt"


@given(messages)
def test_a_message_survives_the_ledger(message: Any) -> None:
    assert Message.model_validate_json(message.to_json()) == message
    assert Message.validated(orjson.loads(orjson.dumps(message.model_dump()))) == message


def test_content_is_kept_byte_for_byte() -> None:
    for content in ("  spaced \n", "", "e\u0301👩\u200d👩\u200d👧", "\x00\u2028"):
        assert Message(role="assistant", content=content).content == content
        assert orjson.loads(Message(role="assistant", content=content).to_json())["content"] == content


def test_a_string_is_one_user_message() -> None:
    (message,) = parse_messages("hi")
    assert (message.role, message.content) == (Role.USER, "hi")


def test_lists_may_be_mixed_and_keep_extra_keys() -> None:
    parsed = parse_messages(
        ["a", {"role": "assistant", "content": "b", "cache_control": {"x": None}}, parse_messages("c")[0]]
    )
    assert [message.text for message in parsed] == ["a", "b", "c"]
    assert parsed[1].payload() == {"role": "assistant", "content": "b", "cache_control": {"x": None}}


def test_parts_reach_the_provider_unchanged_and_in_order() -> None:
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        {"type": "text", "text": "and this?", "cache_control": {"type": "ephemeral"}},
    ]
    (message,) = parse_messages([{"role": "user", "content": parts}])
    assert message.payload()["content"] == parts
    assert Message.model_validate_json(message.to_json()).payload()["content"] == parts
    assert message.text == "what is this?and this?"


def test_metadata_is_never_part_of_the_payload() -> None:
    assert Message(role="user", content="x", metadata={"id": 1}).payload() == {"role": "user", "content": "x"}


def test_tool_calls_in_openais_form() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    (message,) = parse_messages([{"role": "assistant", "tool_calls": [call]}])
    assert message.tool_calls == [ToolCall(id="c1", name="f", arguments="{}")]


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ("", "messages"),
        ("  \n", "messages"),
        ([], "messages"),
        (None, "messages"),
        (5, "messages"),
        ({SECRET}, "messages"),
        ([""], "messages[0]"),
        ([5], "messages[0]"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": ""}], "messages[0].content"),
        ([{"role": "user", "content": []}], "messages[0].content"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": {"text": SECRET}}], "messages[0].content"),
        ([{"content": SECRET}], "messages[0].role"),
        (["a", {"role": "wizard", "content": SECRET}], "messages[1].role"),
        ([{"role": True, "content": SECRET}], "messages[0].role"),
        ([{"role": "user", "content": [{"text": SECRET}]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [SECRET]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"type": "audio", "audio": SECRET}]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"type": "text", "text": 5}]}], "messages[0].content[0].text"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": SECRET}]}],
            "messages[0].content[0].image_url",
        ),
        ([{"role": "assistant", "content": None}], "messages[0].content"),
        ([{"role": "assistant", "tool_calls": [{"name": "f"}]}], "messages[0].tool_calls[0].id"),
        ([{"role": "user", "content": SECRET, "metadata": {"x": float("nan")}}], "messages[0].metadata.x"),
        ([{"role": "user", "content": SECRET, "x": {1}}], "messages[0].x"),
        (["a", {"role": "tool", "content": SECRET}], "messages[1].tool_call_id"),
        (Message(role="tool", content=SECRET), "messages.tool_call_id"),
        ([{"role": "user", "content": SECRET + "\ud800"}], "messages[0].content"),
        ([{"role": "user", "content": SECRET, 5: 1}], "messages[0]"),
    ],
)
def test_what_is_refused_names_the_place_and_not_the_content(value: Any, param: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        parse_messages(value)
    assert caught.value.param == param
    assert str(caught.value).startswith(f"{param}: ")
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_history_may_be_empty_and_hold_empty_messages() -> None:
    assert parse_history([]) == []
    assert parse_history([{"role": "user", "content": ""}])[0].content == ""


def test_no_content_in_a_repr() -> None:
    message = Message(role="user", content=SECRET, reasoning=SECRET, metadata={"a": SECRET}, note=SECRET)
    assert SECRET not in repr(message) + str(message)


class TestDocument001:
    def test_user_message_is_stripped(self) -> None:
        assert UserMessage(content="  hi ").content == "hi"

    def test_empty_message(self) -> None:
        with pytest.raises(ValidationError, match="Empty message"):
            UserMessage(content="  ")

    def test_chat_input(self) -> None:
        assert ChatInput(message=" hi ").message == "hi"
        assert ChatInput(message=" " + "x" * 4096 + " ").system_prompt is None
        assert len(ChatInput(message="👩" * 4096).message) == 4096

    @pytest.mark.parametrize(("text", "why"), [(" ", "Empty message"), ("x" * 4097, "Message too long")])
    def test_chat_input_refused(self, text: Any, why: Any) -> None:
        with pytest.raises(ValidationError, match=why) as caught:
            ChatInput(message=text)
        assert caught.value.param == "message"
