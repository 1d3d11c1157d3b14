"""Histories that no provider would take, mended."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from palaver.shared.messages import Message, ToolCall
from palaver.workers.generation import answered


def user(text: str = "?") -> Message:
    return Message(role="user", content=text)


def called(*ids: str, content: str | None = None) -> Message:
    calls = [ToolCall(id=id_, name="f", arguments={}) for id_ in ids]
    return Message(role="assistant", content=content, tool_calls=calls or None)


def result(id_: str) -> Message:
    return Message(role="tool", content="x", tool_call_id=id_)


def said(text: str = "!") -> Message:
    return Message(role="assistant", content=text)


def test_what_is_in_order_stays_as_it_is() -> None:
    history = [user(), called("a", "b", content="Look."), result("b"), result("a"), said(), user(), said()]
    assert answered(history, [user()]) == history


def test_the_next_job_may_answer_the_last_calls() -> None:
    history = [user(), called("a", "b"), result("a")]
    assert answered(history, [result("b")]) == history


def test_calls_that_nobody_answers_are_left_out_with_what_was_only_them() -> None:
    assert answered([user(), called("a", content="Hm.")], [user()]) == [user(), said("Hm.")]
    assert answered([user(), called("a")], [user()]) == [user()]
    history = [user(), called("a", "b"), result("b")]
    assert answered(history, [user(), result("a")]) == [user(), called("b"), result("b")]


def test_results_whose_call_was_trimmed_are_left_out() -> None:
    assert answered([result("a"), said(), user()], []) == [said(), user()]
    assert answered([user(), said(), result("a")], []) == [user(), said()]


IDS = st.sampled_from("abc")
MESSAGES = st.lists(
    st.builds(user) | st.builds(said) | st.builds(result, IDS)
    | st.lists(IDS, min_size=1, max_size=3, unique=True).map(lambda ids: called(*ids)),
    max_size=12,
)  # fmt: skip


@given(MESSAGES, MESSAGES)
def test_every_call_has_its_result_at_once_and_every_result_its_call(
    history: list[Message], following: list[Message]
) -> None:
    kept = answered(history, following)
    conversation = [*kept, *following]
    for place, message in enumerate(kept):
        after = place + 1
        while after < len(conversation) and conversation[after].role == "tool":
            after += 1
        ids = {reply.tool_call_id for reply in conversation[place + 1 : after]}
        assert {call.id for call in message.tool_calls or ()} <= ids
    assert answered(kept, following) == kept


class Looked(list[Message]):
    """Messages that count how often one is looked at."""

    times = 0

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        self.times += len(found) if isinstance(place, slice) else 1
        return found


def test_a_long_history_is_looked_at_once_or_twice() -> None:
    history = Looked([user(), called("a"), result("a"), said()] * 1000)
    assert answered(history, [user()]) == history
    assert history.times < 2 * len(history)
