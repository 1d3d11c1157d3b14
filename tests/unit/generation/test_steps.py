"""What a job does next."""

from typing import Any

import pytest

from palaver.shared.errors import ChatIncompleteResponseError, ServerError
from palaver.shared.jobs import ChatJob, Completion, FinishReason
from palaver.shared.messages import ToolCall
from palaver.shared.tools import FunctionTool
from palaver.workers.generation import (
    AskModel,
    Called,
    Continued,
    Done,
    Entry,
    GoOn,
    Journal,
    Keep,
    Kit,
    Offer,
    Reply,
    Result,
    RunTools,
    ToolSource,
    after_failure,
    next_step,
)

PLAIN = ChatJob(messages="?")
WHOLE = ChatJob(messages="?", complete={"max_continues": 2})
TRUNCATED = Reply(text="half", finish_reason=FinishReason.LENGTH)
ADD, LOOK = FunctionTool(name="add"), FunctionTool(name="look")


class Nowhere(ToolSource):
    async def tools(self) -> dict[str, Offer]:
        return {}

    async def call(self, name: str, arguments: Any, context: Any) -> str:
        return ""


HERE = Kit([ADD, LOOK], {"add": (Nowhere(), Offer(ADD))}, rounds=2)
"""A job with two tools, of which this worker has one."""


def call(name: str, id_: str = "c1") -> ToolCall:
    return ToolCall(id=id_, name=name)


def called(*calls: ToolCall, reason: FinishReason = FinishReason.TOOL_CALLS) -> Called:
    return Called(reply=Reply(calls=list(calls), finish_reason=reason))


def result(id_: str = "c1") -> Result:
    return Result(id=id_, name="add", content="5")


def continued(count: int = 1) -> Continued:
    return Continued(reply=TRUNCATED, prompt="continue", count=count, most=2)


def test_a_job_begins_with_a_request() -> None:
    assert next_step(PLAIN, Kit(), Journal()) == AskModel()


@pytest.mark.parametrize("reason", [FinishReason.STOP, FinishReason.CONTENT_FILTER, FinishReason.LENGTH])
def test_a_text_ends_it(reason: FinishReason) -> None:
    assert next_step(PLAIN, HERE, Journal(), Reply(text="x", finish_reason=reason)) == Done()


def test_a_truncated_text_goes_on_if_the_job_wants_it_whole() -> None:
    assert next_step(WHOLE, Kit(), Journal(), TRUNCATED) == GoOn(TRUNCATED, 1, Completion(max_continues=2))
    assert next_step(WHOLE, Kit(), Journal([continued()])) == AskModel()
    second = next_step(WHOLE, Kit(), Journal([continued()]), TRUNCATED)
    assert isinstance(second, GoOn)
    assert second.count == 2
    assert next_step(WHOLE, Kit(), Journal([continued()]), Reply(text="rest")) == Done()


def test_it_goes_on_so_often_and_no_more() -> None:
    twice = Journal([continued(1), continued(2)])
    last = next_step(WHOLE, Kit(), twice, TRUNCATED)
    assert isinstance(last, Done)
    assert isinstance(last.error, ChatIncompleteResponseError)
    assert (last.error.continue_count, last.error.max_continues) == (2, 2)
    patient = ChatJob(messages="?", complete={"max_continues": 2, "ensure_complete": False})
    assert next_step(patient, Kit(), twice, TRUNCATED) == Done()


def test_calls_are_stored_then_run_then_told_to_the_model() -> None:
    reply = Reply(calls=[call("add")], finish_reason=FinishReason.TOOL_CALLS)
    assert next_step(PLAIN, HERE, Journal(), reply) == Keep(Called(reply=reply))
    assert next_step(PLAIN, HERE, Journal([Called(reply=reply)])) == RunTools((call("add"),))
    assert next_step(PLAIN, HERE, Journal([Called(reply=reply), result()])) == AskModel()


def test_a_takeover_runs_the_calls_that_have_no_result() -> None:
    half = Journal([called(call("add", "a"), call("add", "b")), result("a")])
    assert next_step(PLAIN, HERE, half) == RunTools((call("add", "b"),))


def test_calls_of_others_end_the_job() -> None:
    assert next_step(PLAIN, Kit([ADD]), Journal([called(call("add"))])) == Done()
    assert next_step(PLAIN, Kit(), Journal([called(call("made_up"))])) == Done()
    both = Journal([called(call("add", "a"), call("look", "b"))])
    assert next_step(PLAIN, HERE, both) == RunTools((call("add", "a"),))
    both.entries.append(result("a"))
    assert next_step(PLAIN, HERE, both) == Done()


def test_a_name_that_nobody_defined_is_answered_where_tools_run() -> None:
    assert next_step(PLAIN, HERE, Journal([called(call("made_up"))])) == RunTools((call("made_up"),))


def test_the_rounds_end_with_a_request_without_tools() -> None:
    one: list[Entry] = [called(call("add", "a")), result("a")]
    two: list[Entry] = [*one, called(call("add", "b")), result("b")]
    assert next_step(PLAIN, HERE, Journal(one)) == AskModel(may_call=True)
    assert next_step(PLAIN, HERE, Journal(two)) == AskModel(may_call=False)
    assert next_step(PLAIN, HERE, Journal([*two, called(call("add", "c"))])) == Done()


def test_an_answer_that_was_filtered_calls_nobody() -> None:
    filtered = called(call("add"), reason=FinishReason.CONTENT_FILTER)
    assert next_step(PLAIN, HERE, Journal([filtered])) == Done()


def test_a_failure_ends_the_job_unless_it_settles_for_what_there_is() -> None:
    error = ServerError()
    partial = ChatJob(messages="?", complete={"on_error": "return_partial"})
    assert after_failure(WHOLE, Journal([continued()]), AskModel(), error) == Done(error)
    assert after_failure(partial, Journal(), AskModel(), error) == Done(error)
    assert after_failure(partial, Journal([continued()]), AskModel(), error) == Done(cut=error)
    assert after_failure(partial, Journal(), GoOn(TRUNCATED, 1, Completion()), error) == Done(cut=error)
