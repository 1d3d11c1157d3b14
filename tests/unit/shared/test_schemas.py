"""The schemas for other languages: closed in themselves, checked in, and true of what we send and take."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from palaver.shared import ChatJob, ChatResponse, Message, parse_event
from palaver.shared.errors import ErrorInfo, JobError
from palaver.shared.events import EVENT_TYPES
from palaver.shared.schemas import documents

DOCUMENTS = documents()
CHECKED_IN = Path(__file__).parents[3] / "shared/schemas"
HINT = "run `palaver schema --write`"


def test_what_is_checked_in_is_not_stale() -> None:
    assert {path.name for path in CHECKED_IN.glob("*.json")} == set(DOCUMENTS), HINT
    for name, document in DOCUMENTS.items():
        assert json.loads((CHECKED_IN / name).read_text()) == document, HINT


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "asyncapi.json"])
def test_each_is_a_json_schema(name: Any) -> None:
    Draft202012Validator.check_schema(DOCUMENTS[name])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_references_lead_somewhere(name: Any) -> None:
    def references(value: Any) -> Any:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    for reference in set(references(DOCUMENTS[name])):
        found = DOCUMENTS[name]
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def test_documents_are_json() -> None:
    assert json.loads(json.dumps(DOCUMENTS, allow_nan=False)) == DOCUMENTS


def test_every_logged_event_is_a_message_of_the_channel() -> None:
    document = DOCUMENTS["asyncapi.json"]
    assert document["asyncapi"].startswith("3.")
    assert set(document["channels"]["session"]["messages"]) == set(EVENT_TYPES) - {"resync"}


def holds(name: Any, document: Any) -> Any:
    return [
        error.message for error in Draft202012Validator(DOCUMENTS[name]).iter_errors(json.loads(document))
    ]


def test_what_we_write_is_as_described() -> None:
    assert not holds(
        "chat_job.schema.json", ChatJob(messages="hi", session_id="s", tools=[{"name": "f"}]).to_json()
    )
    assert not holds(
        "message.schema.json", Message(role="user", content=[{"type": "text", "text": "a"}]).to_json()
    )
    assert not holds("chat_response.schema.json", ChatResponse.failed(JobError()).to_json())
    assert not holds("error_info.schema.json", ErrorInfo.of(JobError()).to_json())
    event = {
        "seq": 1,
        "session_id": "s",
        "job_id": "j",
        "type": "stream_end",
        "data": {"status": "cancelled"},
    }
    assert not holds("event.schema.json", parse_event(event).to_json())


@pytest.mark.parametrize(
    "job",
    [
        {"messages": "hi"},
        {"messages": ["a", {"role": "user", "content": "b"}], "complete": True, "params": {"stop": "x"}},
    ],
)
def test_short_forms_are_described(job: Any) -> None:
    assert ChatJob.parse(job)
    assert not holds("chat_job.schema.json", json.dumps(job))


@pytest.mark.parametrize(
    "job",
    [
        {},
        {"messages": 5},
        {"messages": "x", "session_id": "a b"},
        {"messages": "x", "deadline": 0},
        {"messages": "x", "typo": 1},
    ],
)
def test_wrong_jobs_are_wrong_by_the_schema_too(job: Any) -> None:
    assert holds("chat_job.schema.json", json.dumps(job))
