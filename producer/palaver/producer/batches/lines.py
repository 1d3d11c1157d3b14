"""One entry of a batch's input becomes a line's custom id and job; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from palaver.producer.batches import openai_line
from palaver.shared.batches import BatchJob, BatchLine
from palaver.shared.errors import ValidationError
from palaver.shared.jobs import ChatJob
from palaver.shared.plain import refuse, shape

_NOT_OF_A_LINE: Final = frozenset(
    (
        "agent",
        "archive",
        "idempotency_key",
        "job_id",
        "on_busy",
        "priority",
        "retry_of",
        "run_at",
        "session_id",
        "webhook",
    )
)
_ID: Final = frozenset(("job_id",))
"""What a job that was made elsewhere has, and a line has not."""
_STORED: Final = _ID | {"priority"}
"""What a line may have that was taken in before: the priority of the key that asked, which says nothing."""
_PLAIN: Final = {name: field.default for name, field in ChatJob.model_fields.items()}


class LineReader:
    """Makes the jobs of one batch: `defaults` has what lines take that say nothing themselves."""

    def __init__(self, batch: BatchJob, defaults: ChatJob, *, max_bytes: int) -> None:
        self._batch = batch
        self._defaults = defaults
        self._max_bytes = max_bytes

    def decoded(self, entry: object) -> Mapping[str, Any] | ChatJob | BatchLine:
        """The entry, of a file its line's JSON. Raises ValidationError for what cannot be a job."""
        if isinstance(entry, bytes):
            entry = self._loads(entry.rstrip(b"\r\n"))
        if isinstance(entry, str):
            return {"messages": entry}
        if not isinstance(entry, Mapping | ChatJob | BatchLine):
            refuse("", f"must be a job or a line of OpenAI's batch format, not {shape(entry)}")
        return entry

    def job(self, entry: Mapping[str, Any] | ChatJob | BatchLine) -> ChatJob:
        """The job of a decoded entry. Raises ValidationError; `param` is a place in the entry."""
        if isinstance(entry, BatchLine):
            return self._completed(entry.job, ignored=_STORED)
        if isinstance(entry, ChatJob):
            return self._completed(entry, ignored=_ID)
        return self._job({name: value for name, value in entry.items() if name != "custom_id"})

    def _loads(self, line: bytes) -> Any:
        if len(line) > self._max_bytes:
            refuse("", f"is larger than {self._max_bytes} bytes (PALAVER_MAX_DOCUMENT_BYTES)")
        try:
            return orjson.loads(line)
        except orjson.JSONDecodeError as error:
            place = f"column {error.colno}"
        return refuse("", f"is not valid JSON ({place})")

    def _job(self, fields: dict[str, Any]) -> ChatJob:
        if not openai_line.is_openai(fields):
            return self._completed(self._parsed(fields))
        request = openai_line.job_fields(fields)
        try:
            return self._completed(self._parsed(request))
        except ValidationError as error:
            param = error.param or ""
            place = openai_line.place(param)
            told = error.message.removeprefix(f"{param}: ")
        return refuse(place, told)

    def _parsed(self, fields: dict[str, Any]) -> ChatJob:
        if fields.get("params") is None:
            fields["params"] = {}
        return ChatJob.parse(fields, max_bytes=self._max_bytes)

    def _completed(self, job: ChatJob, ignored: frozenset[str] = frozenset()) -> ChatJob:
        self._check(job, ignored)
        update: dict[str, Any] = {"params": self._defaults.params.merged(job.params)}
        if job.model is None:
            update["model"] = self._defaults.model
        if "deadline" not in job.model_fields_set:  # it may wait for its provider as long as the batch has
            update["deadline"] = self._batch.completion_window
        return job.model_copy(update=update)

    def _check(self, job: ChatJob, ignored: frozenset[str]) -> None:
        for name in sorted((job.model_fields_set & _NOT_OF_A_LINE) - ignored):
            if getattr(job, name) != _PLAIN[name]:
                refuse(name, "is not for a line of a batch, which runs alone and at once")
        if job.history == "session":
            refuse("history", "cannot be a session's: a line of a batch has none")
        for name in ("user", "tenant"):
            if getattr(job, name) not in (None, getattr(self._batch, name)):
                refuse(name, "is the batch's: give it to the batch")


def custom_id_of(entry: Mapping[str, Any] | ChatJob | BatchLine) -> object:
    """What the entry says that its custom id is; None if it says nothing."""
    if isinstance(entry, BatchLine):
        return entry.custom_id
    return entry.get("custom_id") if isinstance(entry, Mapping) else None


def fits_a_line(fields: Mapping[str, Any]) -> bool:
    """Whether jobs with these fields can be lines of a batch."""
    return not fields.keys() & _NOT_OF_A_LINE and fields.get("history") != "session"
