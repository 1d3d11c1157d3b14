"""What a session remembers of a finished job."""

import orjson
import pytest

from palaver.shared.jobs import ChatJob, Status
from palaver.shared.messages import Message
from palaver.workers.policies import additions

JOB = ChatJob(messages="Why?", session_id="s1")
ANSWER = [Message(role="assistant", content=" Because. ")]


def remembered(status: Status, answer: list[Message] = ANSWER, job: ChatJob = JOB) -> list[dict[str, object]]:
    return [orjson.loads(message) for message in additions(job, status, answer)]


def test_a_completed_job_adds_question_and_answer() -> None:
    question, answer = remembered(Status.COMPLETED)
    assert (question["role"], question["content"]) == ("user", "Why?")
    assert (answer["role"], answer["content"]) == ("assistant", " Because. ")
    assert answer["metadata"] == {"job_id": JOB.job_id}


def test_a_partial_answer_is_marked() -> None:
    _, answer = remembered(Status.CANCELLED)
    assert answer["metadata"] == {"job_id": JOB.job_id, "partial": True}


@pytest.mark.parametrize("status", [Status.FAILED, Status.EXPIRED])
def test_failed_and_expired_jobs_add_nothing(status: Status) -> None:
    assert remembered(status) == []


def test_an_empty_answer_is_not_remembered() -> None:
    assert [message["role"] for message in remembered(Status.CANCELLED, [])] == ["user"]


def test_an_answer_of_several_messages_keeps_what_they_say_of_themselves() -> None:
    result = Message(role="tool", content="?", tool_call_id="c1", metadata={"is_error": True})
    _, answer = remembered(Status.COMPLETED, [result])
    assert answer["metadata"] == {"is_error": True, "job_id": JOB.job_id}
