"""Events and responses: lossless, open to newer workers, and adding up to one answer by one rule."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.shared import (
    Accumulator,
    ChatResponse,
    ChatResult,
    OtherEvent,
    Response,
    Status,
    UniResponse,
    Usage,
    accumulate,
    parse_event,
)
from palaver.shared.accumulator import end_error
from palaver.shared.contract import VERSION
from palaver.shared.errors import (
    JobCancelledError,
    JobError,
    JobExpiredError,
    RateLimitError,
    ServerError,
    ValidationError,
)
from palaver.shared.events import EVENT_TYPES

from .strategies import counts, errors, json_objects, json_values, name, responses, text, usages

DATA = {
    "job_queued": st.fixed_dictionaries({"position": st.integers(0, 99)}),
    "stream_start": st.fixed_dictionaries(
        {"offset": st.integers(0, 99)}, optional={"model": name, "provider": name, "metadata": json_objects}
    ),
    "text_chunk": st.fixed_dictionaries({"delta": text}, optional={"raw": json_objects}),
    "reasoning_chunk": st.fixed_dictionaries({"delta": text}),
    "thinking_block": st.fixed_dictionaries({"block": json_objects}, optional={"length": st.integers(0, 9)}),
    "content": st.fixed_dictionaries({"content_type": name, "data": json_values}),
    "tool_call": st.fixed_dictionaries({"id": name, "name": name, "arguments": text | json_objects}),
    "tool_result": st.fixed_dictionaries({"id": name, "content": json_values, "is_error": st.booleans()}),
    "widget": st.fixed_dictionaries({"widget_type": name, "data": json_values}),
    "progress": st.fixed_dictionaries(
        {"done": st.integers(0, 9)}, optional={"total": counts, "message": text}
    ),
    "warning": st.fixed_dictionaries({"code": name, "message": text}, optional={"param": name}),
    "retry": st.fixed_dictionaries(
        {"error": errors.map(lambda error: orjson.loads(error.to_json()))},
        optional={"delay": st.floats(0, 99)},
    ),
    "resync": st.fixed_dictionaries(
        {"seq": st.integers(0, 99), "text": text, "reasoning": text, "status": st.sampled_from(Status)}
    ),
    "stream_end": st.fixed_dictionaries(
        {"status": st.sampled_from([status.value for status in Status if status.ended])},
        optional={
            "response": responses.map(lambda response: orjson.loads(response.to_json())),
            "error": errors.map(lambda error: orjson.loads(error.to_json())),
            "usage": usages.map(lambda usage: orjson.loads(usage.to_json())),
            "text": text,
            "finish_reason": name,
        },
    ),
}
envelopes = st.sampled_from(sorted(DATA)).flatmap(
    lambda kind: st.fixed_dictionaries(
        {
            "seq": st.integers(0, 2**53),
            "type": st.just(kind),
            "session_id": name,
            "job_id": name,
            "attempt": st.integers(0, 99),
            "time": st.floats(0, 4e9),
            "data": st.tuples(
                DATA[kind], st.dictionaries(name.map("x_{}".format), json_values, max_size=2)
            ).map(lambda both: {**both[0], **both[1]}),
        }
    )
)


def event(kind: Any, seq: Any, job: Any = "j", attempt: Any = 1, /, **data: Any) -> Any:
    return parse_event(
        {
            "seq": seq,
            "type": kind,
            "session_id": "s",
            "job_id": job,
            "attempt": attempt,
            "time": 1.5,
            "data": data,
        }
    )


def test_every_type_of_the_contract_is_tried() -> None:
    assert set(DATA) == set(EVENT_TYPES)


@given(envelopes)
def test_any_event_survives_the_log(document: Any) -> None:
    parsed = parse_event(document)
    assert type(parsed) is EVENT_TYPES[document["type"]]
    assert parse_event(parsed.to_json()) == parsed
    assert parse_event(parsed.to_json().decode()) == parsed


@given(envelopes.filter(lambda document: document["type"] not in ("retry", "stream_end")))
def test_an_event_says_again_what_it_was_told(document: Any) -> None:
    again = orjson.loads(parse_event(document).to_json())
    assert {**again, "data": None} == {"v": VERSION, **document, "data": None}
    for key, value in document["data"].items():
        if value is not None or key.startswith("x_"):
            assert again["data"][key] == value


def test_an_unknown_type_is_an_event_still() -> None:
    parsed = event("hologram", 3, depth=2)
    assert isinstance(parsed, OtherEvent)
    assert (parsed.type, parsed.data) == ("hologram", {"depth": 2})


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        "null",
        b'{"seq":1}',
        b'{"seq":"1","type":"progress","session_id":"s","job_id":"j"}',
        {},
        None,
    ],
)
def test_what_is_no_event(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        parse_event(wrong)


def test_no_content_in_a_repr() -> None:
    chunk = event("text_chunk", 1, delta="the secret answer")
    end = event("stream_end", 2, status="completed", response={"content": "the secret answer"})
    state = accumulate([chunk, end])
    for thing in (chunk, end, *state.feed(chunk), state.response, Accumulator().feed(chunk)):
        assert "secret" not in repr(thing) + str(thing)


class TestAccumulator:
    def test_an_answer(self) -> None:
        response = {"content": "a👩b", "model": "m", "usage": {"input_tokens": 1, "output_tokens": 0}}
        events = [
            event("job_queued", 1, position=2),
            event("stream_start", 2, model="m", provider="p", offset=0),
            event("reasoning_chunk", 3, delta="hm"),
            event("text_chunk", 4, delta="a👩"),
            event("text_chunk", 5, delta="b"),
            event("stream_end", 6, status="completed", response=response, finish_reason="stop"),
        ]
        state = Accumulator("j")
        chunks = [chunk for each in events for chunk in state.feed(each)]
        assert [(chunk.seq, chunk.content, chunk.kind) for chunk in chunks[:-1]] == [
            (3, "hm", "reasoning"),
            (4, "a👩", "text"),
            (5, "b", "text"),
        ]
        last = chunks[-1]
        assert (last.done, last.delta, last.finish_reason, last.usage and last.usage.total_tokens) == (
            True,
            "",
            "stop",
            1,
        )
        assert (state.text, state.reasoning, state.position) == ("a👩b", "hm", 2)
        assert state.response.content == state.text
        assert state.error is None

    def test_offset_zero_drops_and_says_so(self) -> None:
        state = Accumulator()
        for each in (
            event("stream_start", 1, offset=0),
            event("text_chunk", 2, delta="half an ans"),
            event("tool_call", 3, id="c", name="f", arguments={}),
            event("widget", 4, widget_type="w", data=1),
        ):
            assert not any(chunk.reset for chunk in state.feed(each))
        assert (len(state.tool_calls), len(state.widgets)) == (1, 1)
        (reset,) = state.feed(event("stream_start", 5, "j", 2, offset=0))
        assert (reset.reset, reset.delta) == (True, "")
        assert (state.text, state.tool_calls, state.widgets, state.attempt) == ("", [], [], 2)

    def test_calls_that_were_answered_are_none_that_wait(self) -> None:
        state = accumulate(
            [
                event("tool_call", 1, id="a", name="f", arguments={}),
                event("tool_call", 2, id="b", name="f", arguments={}),
                event("tool_result", 3, id="a", content="x"),
            ]
        )
        assert (
            [call.id for call in state.tool_calls] == [call.id for call in state.response.tool_calls] == ["b"]
        )

    def test_a_higher_offset_goes_on(self) -> None:
        state = accumulate(
            [
                event("text_chunk", 1, delta="👩👩"),
                event("stream_start", 2, "j", 2, offset=2),
                event("text_chunk", 3, "j", 2, delta="!"),
            ]
        )
        assert state.text == "👩👩!"

    def test_other_jobs_and_repeated_events_are_skipped(self) -> None:
        one, other = event("text_chunk", 1, delta="a"), event("text_chunk", 2, "k", delta="b")
        assert accumulate([one, other, one, event("text_chunk", 3, delta="c")]).text == "ac"
        assert accumulate([one, other], "k").text == "b"

    def test_nothing_follows_the_end(self) -> None:
        state = accumulate(
            [event("stream_end", 1, status="cancelled"), event("text_chunk", 2, delta="zombie")]
        )
        assert state.text == ""

    def test_a_resync_replaces_even_at_a_lower_seq(self) -> None:
        state = accumulate([event("text_chunk", 9, delta="lost")])
        chunks = state.feed(event("resync", 4, seq=4, text="real", reasoning="why", status="running"))
        assert [(chunk.delta, chunk.kind, chunk.reset) for chunk in chunks] == [
            ("real", "text", True),
            ("why", "reasoning", False),
        ]
        state.feed(event("text_chunk", 5, delta="!"))
        assert (state.text, state.reasoning) == ("real!", "why")

    def test_a_resync_that_goes_on_says_only_what_is_new(self) -> None:
        state = accumulate([event("text_chunk", 1, delta="ab"), event("reasoning_chunk", 2, delta="x")])
        chunks = state.feed(event("resync", 9, seq=9, text="abcd", reasoning="xy", status="running"))
        assert [(chunk.delta, chunk.kind, chunk.reset) for chunk in chunks] == [
            ("cd", "text", False),
            ("y", "reasoning", False),
        ]
        assert (state.text, state.reasoning) == ("abcd", "xy")
        assert state.feed(event("resync", 10, seq=10, text="abcd", reasoning="xy", status="running")) == ()

    def test_a_resync_of_an_ended_job_still_waits_for_its_end(self) -> None:
        state = accumulate([event("resync", 4, seq=4, text="all", status="completed")])
        assert not state.done
        state.feed(event("stream_end", 4, status="completed", response={"content": "all"}))
        assert state.done

    def test_a_failure_keeps_the_partial_text(self) -> None:
        error = {
            "type": "ServerError",
            "code": "server_error",
            "message": "boom",
            "retryable": True,
            "http_status": 500,
        }
        state = accumulate(
            [
                event("stream_start", 1, model="m"),
                event("text_chunk", 2, delta="par"),
                event("stream_end", 3, status="failed", error=error, text="par", usage={"output_tokens": 1}),
            ]
        )
        assert isinstance(state.error, ServerError)
        response = state.response
        assert (response.is_error, response.error, response.content) == (True, "boom", "par")
        assert (response.model, response.token_count) == ("m", None)

    def test_a_late_reader_of_a_failure_gets_the_whole_partial_text(self) -> None:
        state = accumulate(
            [event("text_chunk", 9, delta="tial"), event("stream_end", 10, status="failed", text="partial")]
        )
        assert state.text == "partial"

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            ("failed", JobError),
            ("cancelled", JobCancelledError),
            ("expired", JobExpiredError),
            ("completed", type(None)),
        ],
    )
    def test_every_end_has_its_error(self, status: Any, error: Any) -> None:
        assert type(accumulate([event("stream_end", 1, status=status)]).error) is error
        assert type(end_error(Status(status), None)) is error

    def test_a_completed_job_without_a_response_is_made_of_its_events(self) -> None:
        state = accumulate(
            [
                event("text_chunk", 1, delta="a"),
                event("stream_end", 2, status="completed", finish_reason="length", usage={"total_tokens": 3}),
            ]
        )
        assert (state.response.content, state.response.finish_reason, state.response.token_count) == (
            "a",
            "length",
            3,
        )

    @given(st.lists(text, max_size=6), st.data())
    def test_merging_deltas_changes_nothing(self, deltas: Any, data: Any) -> None:
        whole = "".join(deltas)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
        pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        one = accumulate(event("text_chunk", seq, delta=delta) for seq, delta in enumerate(deltas, 1))
        two = accumulate(event("text_chunk", seq, delta=delta) for seq, delta in enumerate(pieces, 1))
        assert one.text == two.text == whole


def counted(**given: Any) -> Usage:
    """Usage as a provider tells it."""
    return Usage.validated(given)


class TestUsage:
    @given(usages)
    def test_lossless(self, usage: Any) -> None:
        assert Usage.model_validate_json(usage.to_json()) == usage

    def test_zero_stays_zero(self) -> None:
        usage = counted(prompt_tokens=0, completion_tokens=0)
        assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (0, 0, 0)
        assert orjson.loads(usage.to_json())["input_tokens"] == 0
        assert counted(input_tokens=0, prompt_tokens=5).input_tokens == 0

    def test_both_spellings_and_details(self) -> None:
        usage = counted(prompt_tokens=1, completion_tokens=2, prompt_tokens_details={"cached_tokens": 1})
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1, 2, 3)
        assert usage.details == {"prompt_tokens_details": {"cached_tokens": 1}}

    def test_an_unknown_total_stays_unknown(self) -> None:
        assert Usage(input_tokens=5).total_tokens is None
        assert Usage(total_tokens=7).total_tokens == 7

    @pytest.mark.parametrize("count", [-1, True, "5", 1.5, float("nan")])
    def test_refused(self, count: Any) -> None:
        with pytest.raises(ValidationError, match="input_tokens"):
            Usage(input_tokens=count)

    def test_sum(self) -> None:
        one = counted(input_tokens=1, output_tokens=2, d={"cached": 1, "text": "x"}, cost=0.5)
        two = counted(input_tokens=3, output_tokens=None, d={"cached": 2}, cost=0.25)
        both = one.plus(two)
        assert (both.input_tokens, both.output_tokens, both.total_tokens) == (4, 2, 3)
        assert both.details == {"d": {"cached": 3, "text": "x"}}
        assert (both.cost, both.plus(counted(input_tokens=1)).cost) == (0.75, None)
        assert one.plus(None) is one

    def test_marks_of_a_sum(self) -> None:
        counts, guess = counted(input_tokens=1, output_tokens=2), counted(input_tokens=1, estimated=True)
        hit = counted(input_tokens=1, from_cache=True, cost=0.0)
        assert (counts.plus(guess).estimated, counts.plus(counts).estimated) == (True, False)
        assert (hit.plus(hit).from_cache, hit.plus(counts).from_cache) == (True, False)


class TestChatResponse:
    @given(responses)
    def test_lossless(self, response: Any) -> None:
        assert ChatResponse.model_validate_json(response.to_json()) == response

    def test_document_002s_example(self) -> None:
        response = ChatResponse(
            content="Response content",
            success=True,
            error=None,
            metadata={"model": "gpt-3.5-turbo", "usage": {"prompt_tokens": 10, "completion_tokens": 20}},
        )
        assert (response.is_error, response.model_name, response.token_count) == (False, "gpt-3.5-turbo", 30)
        assert response.metadata["usage"]["prompt_tokens"] == 10

    def test_metadata_is_there_in_both_cases(self) -> None:
        usage = Usage(input_tokens=0, output_tokens=2)
        assert ChatResponse(model="m", usage=usage).metadata == {
            "model": "m",
            "usage": {"prompt_tokens": 0, "completion_tokens": 2, "total_tokens": 2},
        }
        assert ChatResponse.failed(JobError()).metadata == {"model": None, "usage": {}}

    def test_a_failure_always_says_why(self) -> None:
        response = ChatResponse.failed(RateLimitError("slow down", retry_after=2), content="par")
        assert (response.success, response.error, response.finish_reason) == (False, "slow down", "error")
        assert response.error_info is not None
        assert response.error_info.exception().retry_after == 2
        assert ChatResponse(success=False).error

    def test_success_with_an_error_is_a_contradiction(self) -> None:
        with pytest.raises(ValidationError) as caught:
            ChatResponse(success=True, error="x")
        assert caught.value.param == "error"

    def test_a_newer_workers_keys_are_ignored(self) -> None:
        assert ChatResponse.model_validate_json(b'{"content":"a","later":1}').content == "a"

    def test_views(self) -> None:
        response = ChatResponse(
            content="a",
            model="m",
            usage={"input_tokens": 1, "output_tokens": 2},
            reasoning="r",
            finish_reason="stop",
        )
        assert Response.of(response) == Response(content="a", token_count=3, model_name="m", reasoning="r")
        result = ChatResult.of(response)
        assert (result.text, result.content, result.token_count, result.raw) == ("a", "a", 3, None)
        assert (result.finish_reason, result.reasoning) == ("stop", "r")
        uni = UniResponse.of(response)
        assert (uni.role, uni.content, uni.tool_calls) == ("assistant", "a", None)
        assert uni.usage == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
