"""`ChatHistory`: copies in, copies out, and a list to look at."""

import pytest

from palaver.shared import ChatHistory, ChatJob, ChatResult
from palaver.shared.errors import ValidationError
from palaver.shared.messages import Message


@pytest.fixture
def history() -> ChatHistory:
    history = ChatHistory(system="Be kind.")
    history.add_user("One?")
    history.add_assistant("Two.")
    return history


def test_messages_begin_with_the_system_prompt(history: ChatHistory) -> None:
    system = {"role": "system", "content": "Be kind."}
    turns = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "Two."}]
    assert history.get_messages() == [system, *turns]
    assert history.get_messages(include_system=False) == list(history) == turns
    assert ChatHistory.from_messages([system, *turns]) == history
    assert ChatHistory.from_messages(turns).system is None


def test_nobody_changes_it_through_a_copy(history: ChatHistory) -> None:
    before = history.to_json()
    parts = [{"type": "text", "text": "One?"}]
    message = Message(role="user", content=parts)
    other = ChatHistory(messages=[message])
    message.content.append("x")  # type: ignore[union-attr,arg-type]
    assert other[0]["content"] == parts
    history.get_messages()[1]["content"] = "changed"
    history[0]["content"] = "changed"
    clone = history.clone()
    clone.add_user("Three?")
    clone.system = "Be rude."
    assert history.to_json() == before


def test_it_rides_in_json_and_in_a_job(history: ChatHistory) -> None:
    assert ChatHistory.from_json(history.to_json()) == history
    assert ChatHistory.from_dict(history.to_dict()) == history
    job = ChatJob(messages="x", history=history.get_messages())
    again = ChatJob.parse(job.to_json())
    assert ChatHistory.from_messages(again.history) == history  # type: ignore[arg-type]
    for wrong in ("{", "[]", '{"messages": [{"role": "boss", "content": "x"}]}'):
        with pytest.raises(ValidationError):
            ChatHistory.from_json(wrong)


def test_it_is_a_list_to_look_at(history: ChatHistory) -> None:
    assert (len(history), history[-1]["content"]) == (2, "Two.")
    assert history[:1].get_messages() == history.get_messages()[:2]
    more = history + ["Three?"]  # noqa: RUF005 - it is no list
    assert (len(more), more.system, len(history)) == (3, "Be kind.", 2)
    assert len(history + history) == 4
    with pytest.raises(ValidationError):
        history + "x"


def test_the_last_word_of_the_user(history: ChatHistory) -> None:
    assert history.get_last_user_message() == "One?"
    assert ChatHistory(system="x").get_last_user_message() is None


def test_an_answer_is_appended_with_its_calls(history: ChatHistory) -> None:
    history.append_result(ChatResult(text="", tool_calls=[{"id": "c1", "name": "look", "arguments": {}}]))
    history.append_result(ChatResult(text="Three."))
    assert history[-2]["tool_calls"] == [{"id": "c1", "name": "look", "arguments": {}}]
    assert history[-1] == {"role": "assistant", "content": "Three."}


def test_its_repr_tells_nothing_of_it(history: ChatHistory) -> None:
    assert repr(history) == "ChatHistory(2 messages)"
