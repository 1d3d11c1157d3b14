"""The documents of a batch, and its results in OpenAI's format."""

import orjson
import pytest

from palaver.shared.batch_output import invalid_line, output_line
from palaver.shared.batches import BatchJob, BatchLine, BatchResult, BatchStatus, SliceIndex, new_batch_id
from palaver.shared.errors import JobExpiredError, RateLimitError, ValidationError
from palaver.shared.jobs import MAX_DOCUMENT_BYTES, ChatJob
from palaver.shared.messages import ToolCall, UserMessage
from palaver.shared.responses import ChatResponse

BATCH = BatchJob(batch_id="b1", input="a" * 64, total=3, user="ann", tenant="acme")


def told(response: ChatResponse) -> dict[str, object]:
    result = BatchResult(index=7, custom_id="seven", response=response)
    line = output_line("b1", 1_700_000_000.9, BatchResult.model_validate_json(result.to_line()))
    assert line.count(b"\n") == 1
    document: dict[str, object] = orjson.loads(line)
    return document


def test_a_line_comes_back_from_the_store_as_a_job_of_the_batch() -> None:
    asked = ChatJob(
        messages=[UserMessage(content="one\r\ntwo")],
        params={"temperature": 0.5, "extra": {"a": None}},
        user="somebody",
        max_retries=0,
        metadata={"n": None},
    )
    line = BatchLine(index=300, custom_id="c", job=asked).to_line()
    back = BatchLine.parse(line.rstrip(b"\n"), BATCH)
    assert (back.index, back.custom_id) == (300, "c")
    owned = {"job_id": "b1.300", "user": "ann", "tenant": "acme"}
    assert back.job.model_dump() == {**asked.model_dump(), **owned}
    assert BatchLine.parse(line, BATCH).job.job_id == back.job.job_id, "it may be begun twice"


def test_a_line_is_in_the_slice_that_begins_below_it() -> None:
    slices = SliceIndex([(0, 1000), (10, 50), (11, 8)], total=15)
    for index in (slices, SliceIndex.parse(slices.to_json(), BATCH.model_copy(update={"total": 15}))):
        assert [index.place(line) for line in (0, 9, 10, 11, 14)] == [(0, 100)] * 2 + [(10, 50)] + [
            (11, 2)
        ] * 2
    assert BATCH.slice_name(10).endswith("/00000010.jsonl")


@pytest.mark.parametrize("batch_id", ["..", "a/b", "", ".x", "a\n", "x" * 129])
def test_no_batch_id_leads_out_of_its_folder(batch_id: str) -> None:
    with pytest.raises(ValidationError, match="batch_id"):
        BatchJob(batch_id=batch_id, input="a" * 64, total=1)


def test_batches_of_one_key_meet_in_one_place() -> None:
    assert new_batch_id("t", "k") == new_batch_id("t", "k") != new_batch_id(None, "k")
    assert new_batch_id(None, None) != new_batch_id(None, None)


def test_four_statuses_are_ends() -> None:
    assert {status for status in BatchStatus if status.ended} == {
        "failed",
        "completed",
        "expired",
        "cancelled",
    }


def test_an_answer_is_a_chat_completion() -> None:
    usage = {"input_tokens": 3, "output_tokens": 4}
    line = told(ChatResponse(content="hi", model="m", usage=usage, reasoning="hm", finish_reason="length"))
    assert line["id"] == "batch_req_b1.7"
    assert (line["custom_id"], line["error"]) == ("seven", None)
    assert line["response"] == {
        "status_code": 200,
        "request_id": "b1.7",
        "body": {
            "id": "chatcmpl-b1.7",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "hi", "reasoning_content": "hm"},
                    "logprobs": None,
                    "finish_reason": "length",
                }
            ],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        },
    }


def test_calls_of_tools_are_openais() -> None:
    calls = [ToolCall(id="1", name="f", arguments={"a": 1}), ToolCall(id="2", name="g", arguments="{half")]
    line = told(ChatResponse(tool_calls=calls, finish_reason="tool_calls"))
    body = line["response"]["body"]  # type: ignore[index]
    message = body["choices"][0]["message"]
    assert message["content"] is None
    assert [call["function"] for call in message["tool_calls"]] == [
        {"name": "f", "arguments": '{"a":1}'},
        {"name": "g", "arguments": "{half"},
    ]


def test_all_choices_of_an_answer_are_told() -> None:
    call = {"id": "1", "name": "f", "arguments": {"a": 1}}
    others = [
        {"index": 1, "content": "second", "finish_reason": "length"},
        {"index": 2, "content": "", "finish_reason": "tool_calls", "tool_calls": [call]},
    ]
    line = told(ChatResponse(content="first", model="m", metadata={"choices": others}))
    choices = line["response"]["body"]["choices"]  # type: ignore[index]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in choices] == ["first", "second", None]
    assert [choice["finish_reason"] for choice in choices] == ["stop", "length", "tool_calls"]
    assert choices[2]["message"]["tool_calls"][0]["function"]["name"] == "f"


def test_a_line_was_measured_when_it_was_taken_in() -> None:
    """A worker takes what a client with a larger PALAVER_MAX_DOCUMENT_BYTES has stored."""
    large = ChatJob.parse(
        {"messages": "x" * MAX_DOCUMENT_BYTES, "model": "m"}, max_bytes=2 * MAX_DOCUMENT_BYTES
    )
    line = BatchLine(index=0, custom_id="c", job=large).to_line()
    assert BatchLine.parse(line, BATCH).job.messages == large.messages


def test_a_failure_has_its_status() -> None:
    line = told(ChatResponse.failed(RateLimitError("slow down", status_code=429)))
    assert line["response"] == {
        "status_code": 429,
        "request_id": "b1.7",
        "body": {
            "error": {"message": "slow down", "type": "RateLimitError", "param": None, "code": "rate_limit"}
        },
    }


def test_a_line_that_expired_has_no_response() -> None:
    line = told(ChatResponse.failed(JobExpiredError()))
    assert line["response"] is None
    assert line["error"]["code"] == "batch_expired"  # type: ignore[index]


def test_a_line_that_was_left_out_says_where_it_was() -> None:
    line = orjson.loads(
        invalid_line(12, None, ValidationError("body.model: is required", param="body.model"))
    )
    assert line["error"] == {
        "code": "invalid_request",
        "message": "body.model: is required",
        "param": "body.model",
        "line": 12,
    }
