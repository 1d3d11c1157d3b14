"""What a session remembers of a finished job."""

import orjson
import pytest

from palaver.shared.jobs import ChatJob, Status
from palaver.shared.messages import ToolCall
from palaver.shared.responses import ChatResponse
from palaver.workers.policies import additions

JOB = ChatJob(messages="Why?", session_id="s1")


def remembered(status: Status, response: ChatResponse, job: ChatJob = JOB) -> list[dict[str, object]]:
    return [orjson.loads(message) for message in additions(job, status, response)]


def test_a_completed_job_adds_question_and_answer() -> None:
    question, answer = remembered(Status.COMPLETED, ChatResponse(content=" Because. "))
    assert (question["role"], question["content"]) == ("user", "Why?")
    assert (answer["role"], answer["content"]) == ("assistant", " Because. ")
    assert answer["metadata"] == {"job_id": JOB.job_id}


def test_a_partial_answer_is_marked() -> None:
    _, answer = remembered(Status.CANCELLED, ChatResponse(content="Bec"))
    assert answer["metadata"] == {"job_id": JOB.job_id, "partial": True}


@pytest.mark.parametrize("status", [Status.FAILED, Status.EXPIRED])
def test_failed_and_expired_jobs_add_nothing(status: Status) -> None:
    assert remembered(status, ChatResponse(content="Bec")) == []


def test_an_empty_answer_is_not_remembered() -> None:
    assert [message["role"] for message in remembered(Status.CANCELLED, ChatResponse())] == ["user"]


def test_tool_calls_are_remembered_without_text() -> None:
    call = ToolCall(id="c1", name="look", arguments={"x": 1})
    _, answer = remembered(Status.COMPLETED, ChatResponse(tool_calls=[call]))
    assert answer.get("content") is None
    assert answer["tool_calls"] == [{"id": "c1", "name": "look", "arguments": {"x": 1}}]
