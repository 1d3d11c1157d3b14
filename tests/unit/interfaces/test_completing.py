"""A long answer from outside: what is told once, and what a second job goes on with."""

from collections.abc import Callable
from typing import Any

import pytest

from palaver.producer.interfaces.calls import CallDefaults, ChatOptions
from palaver.producer.interfaces.completing import LongAnswer
from palaver.shared.errors import JobCancelledError, LedgerUnavailableError, PalaverError, ServerError
from palaver.shared.events import parse_event
from palaver.shared.responses import ChatResult

Made = Callable[..., LongAnswer]
ERROR = {"type": "ServerError", "code": "server_error", "message": "boom", "retryable": True}


def new(**options: Any) -> LongAnswer:
    return LongAnswer(CallDefaults(), ChatOptions, "Count.", None, options)


def play(answer: LongAnswer, *events: tuple[str, dict[str, Any]], job_id: str = "j") -> None:
    state = answer.follow(job_id)
    for seq, (kind, data) in enumerate(events, 1):
        state.feed(parse_event({"seq": seq, "type": kind, "session_id": "s", "job_id": job_id, "data": data}))


def said(text: str) -> tuple[str, dict[str, Any]]:
    return "text_chunk", {"delta": text}


def begun(count: int, *, message: str = "continue") -> tuple[str, dict[str, Any]]:
    return "progress", {"done": count, "total": 5, "message": message}


def failed(text: str, **usage: int) -> tuple[str, dict[str, Any]]:
    return "stream_end", {"status": "failed", "error": ERROR, "text": text, "usage": usage or None}


START = ("stream_start", {"model": "m", "offset": 0})


def test_a_continue_is_told_once_though_its_request_is_told_again() -> None:
    seen: list[tuple[int, str]] = []

    def on_progress(count: int, _most: int, current: ChatResult, _all: list[ChatResult]) -> None:
        seen.append((count, current.text))

    again = (START, said("one "), begun(1))
    play(new(on_progress=on_progress), *again, said("tw"), *again, said("two "), begun(2), said("three"))
    assert seen == [(1, "one "), (2, "two ")]


def test_other_progress_is_no_continue() -> None:
    seen: list[int] = []
    play(new(on_progress=lambda count, *_: seen.append(count)), START, begun(1, message="step"))
    assert seen == []


def retry(_error: PalaverError, _partial: ChatResult) -> dict[str, Any]:
    return {"action": "retry"}


def test_a_retry_goes_on_with_what_was_said_and_what_is_left() -> None:
    answer = new(on_error_callback=retry, max_continues=3, on_error="return_partial", max_tokens=9)
    assert answer.fields["complete"].on_error == "raise"  # type: ignore[union-attr] # the caller decides
    play(answer, START, said("one "), begun(1), said("tw"), failed("one tw", input_tokens=1, output_tokens=2))
    assert answer.after(ServerError("boom"))
    assert [(message.role, message.text) for message in answer.messages] == [
        ("user", "Count."),
        ("assistant", "one tw"),
        ("user", "continue"),
    ]
    assert answer.fields["complete"].max_continues == 2  # type: ignore[union-attr]
    assert answer.fields["params"].max_tokens == 9  # type: ignore[union-attr]
    usage = {"input_tokens": 10, "output_tokens": 20}
    response = {"content": "o", "finish_reason": "stop", "usage": usage}
    end = {"status": "completed", "response": response, "usage": usage, "finish_reason": "stop"}
    play(answer, START, said("o"), ("stream_end", end), job_id="k")
    assert (answer.text, answer.response.content, answer.finish_reason) == ("one two", "one two", "stop")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (11, 22)
    assert answer.response.metadata["usage"]["total_tokens"] == 33


def test_each_retry_goes_on_with_all_that_was_said_once() -> None:
    answer = new(on_error_callback=retry, continue_prompt="Go on.")
    play(answer, START, said("one "), begun(1), said("tw"), failed("one tw"))
    assert answer.after(ServerError("boom"))
    play(answer, START, said("o th"), failed("o th"), job_id="k")
    assert answer.after(ServerError("boom"))
    assert [message.text for message in answer.messages] == ["Count.", "one two th", "Go on."]


def test_nobody_is_asked_about_what_is_no_failure_of_a_continue() -> None:
    asked: list[str] = []

    def on_error(error: PalaverError, _partial: ChatResult) -> dict[str, Any]:
        asked.append(error.type)
        return {"action": "return_partial"}

    first = new(on_error_callback=on_error)
    play(first, START, said("on"), failed("on"))
    assert not first.after(ServerError("boom"))
    cancelled = new(on_error_callback=on_error)
    end = ("stream_end", {"status": "cancelled", "text": "one tw"})
    play(cancelled, START, said("one "), begun(1), said("tw"), end)
    assert not cancelled.after(JobCancelledError())
    for answer in (first, cancelled):
        with pytest.raises(PalaverError) as caught:
            answer.check()
        assert caught.value.response.content == answer.text
    assert asked == []


def test_a_reader_that_is_cut_off_says_nothing_of_the_job() -> None:
    answer = new(on_error_callback=retry)
    play(answer, START, said("one "), begun(1))
    with pytest.raises(LedgerUnavailableError):
        answer.after(LedgerUnavailableError())
