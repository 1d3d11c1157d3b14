"""What a job has finished, as messages, as events, and as the ledger keeps it."""

from typing import Any

import pytest

from palaver.shared.errors import InternalError
from palaver.shared.jobs import FinishReason
from palaver.shared.messages import ToolCall
from palaver.workers.generation import Called, Continued, Entry, Journal, Reply, Result

HALF = Reply(text="I lo", reasoning="Hm.", finish_reason=FinishReason.LENGTH)
LOOKED = Reply(
    text="ok.",
    reasoning="So.",
    calls=[
        ToolCall(id="a", name="look", arguments={"at": "日本"}),
        ToolCall(id="b", name="add", arguments="{"),
    ],
    finish_reason=FinishReason.TOOL_CALLS,
    model="m-1",
    provider="p",
    fields={"thinking_blocks": [{"signature": "s"}]},
)
ENTRIES: list[Entry] = [
    Continued(reply=HALF, prompt="Go on.", count=1, most=5),
    Called(reply=LOOKED),
    Result(id="b", name="add", content="no object", is_error=True),
    Result(id="a", name="look", content="a cat"),
]
WHOLE = Journal(ENTRIES)


def test_the_ledger_gives_back_what_was_stored() -> None:
    assert Journal.restored([entry.to_json() for entry in ENTRIES]).entries == ENTRIES


@pytest.mark.parametrize("content", [b"", b"{}", b'{"kind":"other"}', b'{"kind":"result","id":"a"}'])
def test_what_no_worker_of_this_version_wrote_is_refused(content: bytes) -> None:
    with pytest.raises(InternalError):
        Journal.restored([content])


def test_what_readers_have_of_it() -> None:
    assert (WHOLE.text, WHOLE.reasoning) == ("I look.", "Hm.So.")
    assert (WHOLE.continues, WHOLE.tool_rounds) == (1, 1)
    kinds = [kind for entry in ENTRIES for kind, _ in entry.events()]
    assert kinds == ["progress", "tool_call", "tool_call", "tool_result", "tool_result"]


def test_an_empty_one_has_nothing() -> None:
    empty = Journal()
    assert (empty.text, empty.reasoning, empty.last) == ("", "", None)
    assert (empty.messages, empty.open_calls, empty.remembered("", open_calls=True)) == ([], [], [])


def test_the_next_request_has_all_of_it_in_order() -> None:
    half, prompt, called, looked, added = WHOLE.messages
    assert [m.role.value for m in WHOLE.messages] == ["assistant", "user", "assistant", "tool", "tool"]
    assert (half.content, prompt.content, called.content) == ("I lo", "Go on.", "ok.")
    assert called.tool_calls == LOOKED.calls
    assert (called.reasoning, called.model_extra) == ("So.", LOOKED.fields)
    assert (looked.tool_call_id, looked.name, looked.content, looked.metadata) == ("a", "look", "a cat", None)
    assert (added.tool_call_id, added.metadata) == ("b", {"is_error": True})


def test_calls_alone_have_no_content_and_truncated_nothing_is_no_message() -> None:
    calls = Called(reply=Reply(calls=[ToolCall(id="a", name="f")]))
    assert [message.content for message in calls.messages()] == [None]
    nothing = Continued(reply=Reply(finish_reason=FinishReason.LENGTH), prompt="Go on.", count=1, most=5)
    assert [message.role.value for message in nothing.messages()] == ["user"]


def test_open_calls_are_those_of_the_last_answer_without_a_result() -> None:
    assert [call.id for call in Journal(ENTRIES[:2]).open_calls] == ["a", "b"]
    assert [call.id for call in Journal(ENTRIES[:3]).open_calls] == ["a"]
    assert WHOLE.open_calls == []


def short(journal: Journal, rest: str, *, open_calls: bool = False) -> list[Any]:
    kept = journal.remembered(rest, open_calls=open_calls)
    return [(m.role.value, m.content, [call.id for call in m.tool_calls or ()]) for m in kept]


def test_a_session_remembers_calls_results_and_texts_but_no_continues() -> None:
    assert short(WHOLE, "It is a cat.") == [
        ("assistant", "I look.", ["a", "b"]),
        ("tool", "a cat", []),
        ("tool", "no object", []),
        ("assistant", "It is a cat.", []),
    ]


def test_a_session_remembers_open_calls_only_if_somebody_may_answer_them() -> None:
    half = Journal(ENTRIES[:3])
    assert short(half, "")[0] == ("assistant", "I look.", ["b"])
    assert short(half, "", open_calls=True)[0] == ("assistant", "I look.", ["a", "b"])
    silent = Journal([Called(reply=Reply(calls=[ToolCall(id="a", name="f")]))])
    assert short(silent, "") == []
