"""What a provider is asked for a job: one leading system message, and a stream unless it could not hold the
answer."""

from typing import Any

import pytest

from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Claimed
from palaver.shared.messages import Message, parse_history
from palaver.workers.generation import Journal, Reply
from palaver.workers.generation.journal import Stepped
from palaver.workers.policies import Beginning
from palaver.workers.providers import GenerationRequest
from palaver.workers.work import Work, read_job, request_for

OLD = {"role": "system", "content": "old"}
NEW = {"role": "system", "content": "new"}
TOLD = {"role": "developer", "content": "told"}
MORE = {"role": "assistant", "content": "more"}


def asked(messages: Any = "hi", history: Any = (), **fields: Any) -> GenerationRequest:
    work = Work(ChatJob(messages=messages, **fields), parse_history(list(history)))
    return request_for(work, Journal(), "m", Beginning())


def said(messages: list[Message]) -> list[tuple[str, Any]]:
    return [(str(message.role), message.payload()["content"]) for message in messages]


@pytest.mark.parametrize(
    ("system", "history", "messages", "wanted"),
    [
        (None, [], ["hi"], []),
        ("a", [], ["hi"], [("system", "a")]),
        ("a", [OLD, "one", MORE], ["hi"], [("system", "a"), ("user", "one"), ("assistant", "more")]),
        (None, [OLD, "one", MORE], ["hi"], [("system", "old"), ("user", "one"), ("assistant", "more")]),
        (None, [OLD, "one"], [NEW, "hi"], [("system", "new"), ("user", "one")]),
        (None, [], [TOLD, "hi"], [("developer", "told")]),
        ("a", [OLD, "one"], [TOLD, NEW, "hi"], [("system", "a\n\ntold\n\nnew"), ("user", "one")]),
    ],
)
def test_one_system_message_leads(system: Any, history: Any, messages: Any, wanted: Any) -> None:
    request = asked(messages, history, system=system)
    assert said(request.messages) == [*wanted, ("user", "hi")]


def test_parts_are_kept_when_system_messages_become_one() -> None:
    cached = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}
    request = asked([{"role": "system", "content": [cached]}, "hi"], system="a")
    assert said(request.messages)[0] == ("system", [{"type": "text", "text": "a"}, cached])


def test_a_system_message_in_the_middle_is_the_callers_own() -> None:
    request = asked(["hi", MORE, NEW, "and?"])
    assert [role for role, _ in said(request.messages)] == ["user", "assistant", "system", "user"]


@pytest.mark.parametrize(
    ("params", "stream"), [({}, True), ({"n": 1}, True), ({"n": 2}, False), ({"return_raw": True}, False)]
)
def test_what_no_stream_can_hold_is_asked_for_whole(params: dict[str, Any], stream: bool) -> None:
    assert asked(params=params).stream is stream


@pytest.mark.parametrize(
    ("journal", "beginning", "goes_on"),
    [
        (Journal(), Beginning(), False),
        (Journal(), Beginning(said="Once"), True),
        (Journal([Stepped(reply=Reply(), prompt="", count=1, most=2, thought="Well")]), Beginning(), True),
    ],
)
def test_a_request_goes_on_with_what_its_job_has_begun(
    journal: Journal, beginning: Beginning, goes_on: bool
) -> None:
    asker = request_for(Work(ChatJob(messages="hi"), []), journal, "m", beginning).asker
    assert asker is not None
    assert asker.goes_on == goes_on


def test_jobs_that_name_the_same_fields_share_the_names_and_no_change_to_one() -> None:
    one, other = (
        read_job(claimed('{"messages": [{"role": "user", "content": "hi"}], "priority": 3}'), max_bytes=1_000)
        for _ in range(2)
    )
    for mine, its in ((one.job, other.job), (one.job.messages[0], other.job.messages[0])):
        assert mine.model_fields_set is its.model_fields_set
    changed = one.job.model_copy(update={"system": "Be brief."})
    assert changed.model_fields_set == {"messages", "priority", "system"}
    assert other.job.model_fields_set == {"messages", "priority"}


def claimed(job: str) -> Claimed:
    earlier: dict[str, Any] = {"text": "", "reasoning": "", "journal": [], "history": [], "tries": b""}
    facts: dict[str, Any] = {"attempt": 1, "failures": 0, "cancelled": "", "deadline": 60.0}
    return Claimed(session_id="s", job_id="j", fence="f", job=job.encode(), **earlier, **facts)
