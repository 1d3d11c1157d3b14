"""Versions of documents and events, read by somebody of another version."""

import re

import orjson
import pytest

from palaver.shared.batches import BatchJob
from palaver.shared.contract import VERSION, version_of
from palaver.shared.errors import NewerDocumentError, ValidationError
from palaver.shared.events import OtherEvent, parse_event
from palaver.shared.jobs import ChatJob, fingerprint, said
from tests.processes import ROOT

NEWER = VERSION + 1
BATCH = {"batch_id": "b1", "input": "0" * 64, "total": 1}


def test_a_document_of_a_newer_version_is_read_if_it_uses_nothing_new() -> None:
    assert ChatJob.parse({"messages": "hello", "version": NEWER}).version == NEWER


@pytest.mark.parametrize("new", [{"dream": True}, {"on_busy": "wait"}, {"params": {"mood": 1}}], ids=str)
def test_one_that_does_is_told_apart_from_one_that_is_wrong(new: dict[str, object]) -> None:
    with pytest.raises(NewerDocumentError, match=rf"version {NEWER}, and {VERSION} is known here") as newer:
        ChatJob.parse({"messages": "hello", "version": NEWER, **new})
    with pytest.raises(ValidationError) as wrong:
        ChatJob.parse({"messages": "hello", **new})
    assert type(wrong.value) is ValidationError
    assert newer.value.param == wrong.value.param


@pytest.mark.parametrize("nonsense", [None, "2", 0, -1, True, 2.0])
def test_nonsense_is_no_version(nonsense: object) -> None:
    assert version_of({"version": nonsense}) == 1
    with pytest.raises(ValidationError) as wrong:
        ChatJob.parse({"messages": "hello", "version": nonsense, "dream": True})
    assert type(wrong.value) is ValidationError


def test_a_stored_job_says_what_an_older_worker_need_not_guess() -> None:
    job = ChatJob(messages="hello", session_id="s1", priority=9, metadata={"a": 2**60})
    document = said(orjson.loads(job.to_json()))
    assert document.keys() == {"version", "job_id", "messages", "session_id", "priority", "metadata"}
    assert ChatJob.parse(orjson.dumps(document)) == job


def test_a_field_that_comes_later_changes_no_fingerprint() -> None:
    """A key that was used before an update names the same job after it."""
    given = ChatJob(messages="hello", idempotency_key="k", priority=5, files=[])
    assert fingerprint(given) == fingerprint(ChatJob(messages="hello", version=NEWER))


def test_a_newer_batch_can_be_looked_at() -> None:
    batch = BatchJob.stored(orjson.dumps({**BATCH, "version": NEWER, "colour": "red"}))
    assert (batch.is_newer, batch.total) == (True, 1)
    assert not BatchJob.stored(orjson.dumps(BATCH)).is_newer
    with pytest.raises(ValidationError):
        BatchJob.stored(orjson.dumps({**BATCH, "colour": "red"}))


def test_events_of_a_newer_version_are_read() -> None:
    event = {"seq": 1, "v": NEWER, "type": "text_chunk", "session_id": "s", "job_id": "j", "new": 1}
    assert parse_event({**event, "data": {"delta": "a", "mood": 3}}).v == NEWER
    assert isinstance(parse_event({**event, "type": "dream", "data": {}}), OtherEvent)


def test_the_scripts_write_this_version() -> None:
    lua = ROOT / "shared/palaver/shared/ledger/lua"
    written = {number for file in lua.glob("*.lua") for number in re.findall(r'"v":(\d+)', file.read_text())}
    assert written == {str(VERSION)}
