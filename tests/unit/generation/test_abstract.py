"""What a history has instead of its oldest messages."""

from palaver.shared.messages import Message
from palaver.workers.generation import Abstract, reach, recalled, summary_request


def turn(job: str) -> list[Message]:
    return [
        Message(role="user", content=f"? {job}"),
        Message(role="assistant", content=f"! {job}", metadata={"job_id": job}),
    ]


def abstract(until: str, job: str, text: str = "So far.") -> Message:
    message = Abstract(text, until).message()
    return message.model_copy(update={"metadata": {**(message.metadata or {}), "job_id": job}})


def test_a_history_without_an_abstract_is_itself() -> None:
    assert recalled([*turn("a"), *turn("b")]) == (None, [*turn("a"), *turn("b")])
    assert recalled([]) == (None, [])


def test_what_an_abstract_covers_is_not_sent() -> None:
    history = [*turn("a"), *turn("b"), *turn("c"), abstract("b", "c")]
    assert recalled(history) == (Abstract("So far.", "b"), turn("c"))


def test_the_last_abstract_counts() -> None:
    history = [*turn("a"), *turn("b"), abstract("a", "b"), *turn("c"), abstract("b", "c", "And b.")]
    assert recalled(history) == (Abstract("And b.", "b"), turn("c"))


def test_an_answer_in_several_messages_is_covered_whole() -> None:
    answer = [message.model_copy(update={"content": "more"}) for message in turn("a")[1:]]
    history = [*turn("a"), *answer, *turn("b"), abstract("a", "b")]
    assert recalled(history)[1] == turn("b")


def test_what_was_trimmed_away_needs_no_covering() -> None:
    assert recalled([*turn("b"), abstract("a", "b")]) == (Abstract("So far.", "a"), turn("b"))


def test_it_reaches_to_the_last_answer() -> None:
    assert reach([*turn("a"), *turn("b"), Message(role="user", content="never answered")]) == "b"
    assert reach([Message(role="user", content="?")]) is None


def test_the_end_of_a_long_text_is_summarized() -> None:
    _, asked = summary_request(None, [Message(role="user", content="é" * 100)], 51)
    assert asked.text == "é" * 25
    assert summary_request(None, turn("a"), 0)[1].text == ""
    _, further = summary_request(Abstract("Before.", "z"), turn("a"), None)
    assert further.text == "Abstract so far:\nBefore.\n\nuser: ? a\nassistant: ! a"
