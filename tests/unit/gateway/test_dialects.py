"""What OpenAI's responses and Anthropic's messages are told of a job's events."""

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.producer.cursor import Entry, decode
from palaver.producer.gateway.anthropic.answer import MessageDialect, message
from palaver.producer.gateway.faults import error_body
from palaver.producer.gateway.openai.paging import listed
from palaver.producer.gateway.openai.responses_answer import ResponseDialect, draft
from palaver.producer.gateway.translation import Translation
from palaver.shared.errors import ServerError, ValidationError
from palaver.shared.jobs import ChatJob, FinishReason
from palaver.shared.responses import ChatResponse, Usage


def entry(kind: str, **data: Any) -> Entry:
    return decode(orjson.dumps({"seq": 1, "job_id": "j", "type": kind, "data": data}))


def events_of(told: bytes) -> list[dict[str, Any]]:
    blocks = [block for block in told.split(b"\n\n") if block]
    return [orjson.loads(block.partition(b"data: ")[2]) for block in blocks]


START = entry("stream_start", model="m", offset=0)
CALL = {"id": "c1", "name": "look", "arguments": {}}
ANSWER = {"content": "one two", "reasoning": "hm", "tool_calls": [CALL], "finish_reason": "tool_calls"}
LOG = [
    entry("job_queued"),
    START,
    entry("reasoning_chunk", delta="h"),
    entry("reasoning_chunk", delta="m"),
    entry("text_chunk", delta="one"),
    entry("text_chunk", delta=" two"),
    entry("stream_end", status="completed", response=ANSWER),
]


def response(log: list[Entry], *, after: int = -1, background: bool = False) -> list[dict[str, Any]]:
    job = ChatJob(messages="Hi", model="a/m", metadata={"palaver:background": background})
    dialect = ResponseDialect(draft("j", 1.0, job), after=after)
    translation = Translation(dialect, model="")
    told = dialect.created()
    for one in log:
        told += translation.feed([one])
        if one.type == "resync":
            dialect.resynced()
    return events_of(told)


def test_a_response_is_numbered_without_a_gap_and_resumed_at_any_number() -> None:
    whole = response(LOG)
    numbers = [event["sequence_number"] for event in whole]
    assert numbers == list(range(len(whole)))
    assert len(whole) > len(LOG)
    for number in numbers:
        assert response(LOG, after=number) == whole[number + 1 :]


@given(st.integers(0, 40), st.integers(0, 6))
def test_who_comes_back_after_the_log_was_cut_is_told_of_the_end_by_a_higher_number(
    after: int, kept: int
) -> None:
    resync = entry("resync", seq=9, text="one", reasoning="hm")
    told = response([resync, *LOG[5:]], after=after)
    numbers = [event["sequence_number"] for event in told]
    assert numbers == sorted(set(numbers))
    assert all(number > after for number in numbers)
    assert told[-1]["type"] == "response.completed"
    assert told[-1]["response"]["output"][1]["content"][0]["text"] == "one two"


def test_a_response_is_there_before_anything_happens() -> None:
    (created,) = response([])
    assert (created["type"], created["response"]["status"]) == ("response.created", "queued")
    assert [event["type"] for event in response([], background=True)] == [
        "response.created",
        "response.queued",
    ]
    failing = entry("stream_end", status="failed", error={"type": "X", "code": "x", "message": "no"})
    assert [event["type"] for event in response([failing])] == ["response.created", "response.failed"]


def block(length: int, **fields: str) -> Entry:
    return entry("thinking_block", block=fields, length=length)


def told_message(*log: Entry) -> list[str]:
    """What a client of Anthropic's has after each event, in short."""
    translation = Translation(MessageDialect("j"), model="a/m")
    said = []
    for event in events_of(b"".join(translation.feed([one]) for one in log)):
        what = event.get("content_block") or event.get("delta") or {}
        said.append(f"{event['type']}:{what.get('type', '')}".removeprefix("content_block_").rstrip(":"))
    return said


def test_thinking_is_signed_before_the_text_begins() -> None:
    log = [
        START,
        entry("reasoning_chunk", delta="hm"),
        block(2, type="thinking", signature="S"),
        block(0, type="redacted_thinking", data="R"),
        entry("text_chunk", delta="one"),
        entry("stream_end", status="completed", response={"content": "one", "reasoning": "hm"}),
    ]
    assert told_message(*log) == [
        "message_start",
        "ping",
        "start:thinking",
        "delta:thinking_delta",
        "delta:signature_delta",
        "stop",
        "start:redacted_thinking",
        "stop",
        "start:text",
        "delta:text_delta",
        "stop",
        "message_delta",
        "message_stop",
    ]


@pytest.mark.parametrize(
    "log",
    [
        [entry("reasoning_chunk", delta="hmm"), block(2, type="thinking", signature="S")],
        [entry("text_chunk", delta="hm"), block(2, type="thinking", signature="S")],
    ],
)
def test_a_signature_of_other_words_is_left_out(log: list[Entry]) -> None:
    assert "delta:signature_delta" not in told_message(START, *log)


def test_thinking_that_is_not_shown_has_its_signature_still() -> None:
    told = told_message(START, block(0, type="thinking", signature="S"), entry("text_chunk", delta="x"))
    assert told[2:5] == ["start:thinking", "delta:signature_delta", "stop"]


def test_a_whole_message_has_the_signed_blocks() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "S"},
        {"type": "redacted_thinking", "data": "R"},
    ]
    answer = ChatResponse(content="one", reasoning="hm", metadata={"thinking_blocks": blocks})
    assert message("j", "a/m", answer)["content"] == [*blocks, {"type": "text", "text": "one"}]
    other = ChatResponse(content="one", reasoning="well, hm", metadata={"thinking_blocks": blocks})
    unsigned = {"type": "thinking", "thinking": "well, hm", "signature": ""}
    assert message("j", "a/m", other)["content"][0] == unsigned


def test_what_the_prompt_cache_had_is_counted_apart() -> None:
    details = {"cache_creation_input_tokens": 4, "cache_read_input_tokens": 40}
    spent = Usage(input_tokens=47, output_tokens=2, details=details)
    assert message("j", "a/m", ChatResponse(content="x", usage=spent))["usage"] == {
        "input_tokens": 3,
        "output_tokens": 2,
        **details,
    }
    spent = Usage(input_tokens=47, details={"prompt_tokens_details": {"cached_tokens": 40}})
    told = message("j", "a/m", ChatResponse(content="x", usage=spent))["usage"]
    assert (told["input_tokens"], told["cache_read_input_tokens"]) == (7, 40)


def test_an_overloaded_provider_is_told_as_anthropic_tells_it() -> None:
    status, body = error_body("/v1/messages", ServerError("HTTP 529", status_code=529))
    assert (status, body["error"]["type"]) == (529, "overloaded_error")


@pytest.mark.parametrize(
    ("reason", "sequence", "told"),
    [
        (FinishReason.STOP, "END", ("stop_sequence", "END")),
        (FinishReason.STOP, None, ("end_turn", None)),
        (FinishReason.LENGTH, None, ("max_tokens", None)),
        (FinishReason.CONTENT_FILTER, None, ("refusal", None)),
    ],
)
def test_why_a_message_ends(reason: FinishReason, sequence: str | None, told: Any) -> None:
    metadata = {"stop_sequence": sequence} if sequence else {}
    whole = message("j", "a/m", ChatResponse(content="x", finish_reason=reason, metadata=metadata))
    assert (whole["stop_reason"], whole["stop_sequence"]) == told


@given(st.integers(0, 9), st.integers(1, 5))
def test_pages_have_everything_once(count: int, limit: int) -> None:
    items = [{"id": str(number)} for number in range(count)]
    after, found = None, []
    for _ in itertools.count():
        page = listed(items, after=after, limit=limit)
        found += page["data"]
        if not page["has_more"]:
            break
        after = page["last_id"]
    assert found == items


def test_a_page_behind_what_is_in_no_list() -> None:
    with pytest.raises(ValidationError, match="after"):
        listed([{"id": "a"}], after="b", limit=5)
