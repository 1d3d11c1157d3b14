"""The documents of a batch: the batch itself, its lines, their results, and how far it is.

    batches/ID/input/DIGEST/FIRST.jsonl      its lines as `BatchLine`, a slice from the index FIRST on
    batches/ID/input/DIGEST/slices.json      which slices there are: `SliceIndex`
    batches/ID/input/DIGEST/invalid.jsonl    what was left out of the input, as lines of errors.jsonl
    batches/ID/parts/FIRST-LAST.jsonl        results FIRST to LAST in order of completion, as `BatchResult`
    batches/ID/output.jsonl, …/errors.jsonl  at the end, in the format of OpenAI's batches

That is where they are in the file store. A batch is a session without turns whose id is the batch's.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Self

import orjson
from pydantic import ConfigDict, Field

from palaver.shared.contract import VERSION, version_of
from palaver.shared.document import Document
from palaver.shared.errors import ErrorInfo, ValidationError
from palaver.shared.ids import JobId, new_session_id, session_for
from palaver.shared.jobs import MAX_DEADLINE, ChatJob, WebAddress
from palaver.shared.plain import Flag, Integer, JsonObject, Key, Name, Real, Text, mark, optional
from palaver.shared.responses import ChatResponse, Count

SLICE: Final = 256
SLICE_BYTES: Final = 1024 * 1024
"""One object of the store has so many lines at most, and ends with the line that makes it so large."""

MAX_LINES: Final = 10_000_000
MAX_WINDOW: Final = 10_000
DEFAULT_COMPLETION_WINDOW: Final = 24 * 3600.0
CHAT_COMPLETIONS: Final = "/v1/chat/completions"
INPUT_FILE: Final = "palaver:input_file_id"
"""In the metadata of a batch that the gateway took in: the file that its lines came from."""


class BatchStatus(StrEnum):
    """Where a batch is, in the words of OpenAI's batches."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to the batch any more."""
        return self in (self.FAILED, self.COMPLETED, self.EXPIRED, self.CANCELLED)


class RequestCounts(Document):
    """How many lines there are, were answered, and failed (those that expired are among them)."""

    total: Count
    completed: Count = 0
    failed: Count = 0

    @property
    def done(self) -> int:
        """Lines that have a result."""
        return self.completed + self.failed


Digest = Annotated[Text, Field(pattern="^[0-9a-f]{64}$")]


class BatchJob(Document):
    """A batch as it is stored in the ledger: everything but its lines, which are in the file store.

    `input` is the SHA-256 of the stored lines, in order. `window`: so many lines run at once in all (None: as
    the workers' profiles allow). `completion_window` counts seconds from the start; lines that are not done
    by then expire. With `fail_fast` the first line that fails ends the batch. `invalid` lines were left out.
    Its end is told to `webhook`, as a job's is.
    """

    version: Annotated[Integer, Field(ge=1)] = VERSION
    batch_id: Annotated[Text, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,127}$")]
    input: Digest
    total: Annotated[Integer, Field(ge=1, le=MAX_LINES)]
    invalid: Count = 0
    window: Annotated[Integer, Field(ge=1, le=MAX_WINDOW)] | None = optional()
    completion_window: Annotated[Real, Field(ge=1, le=MAX_DEADLINE)] = DEFAULT_COMPLETION_WINDOW
    fail_fast: Flag = False
    dedupe: Flag = False
    user: Name | None = optional()
    tenant: Key | None = optional()
    idempotency_key: Key | None = optional()
    metadata: JsonObject = Field(default_factory=dict)
    webhook: WebAddress | None = optional()
    retry_of: JobId | None = optional()

    @classmethod
    def stored(cls, document: bytes) -> Self:
        """A batch as the ledger has it. Of a newer one what is not known here is left out: it can be looked
        at, and is not to be driven.
        """
        fields = orjson.loads(document)
        if version_of(fields) > VERSION:
            fields = {name: value for name, value in fields.items() if name in cls.model_fields}
        return cls.validated(fields)

    @property
    def fingerprint(self) -> str:
        """What the batch asks for, as a hash: equal for the same lines and options, whichever file they came
        in: who was cut off uploads it again.
        """
        metadata = {name: value for name, value in self.metadata.items() if name != INPUT_FILE}
        return hashlib.sha256(self.model_copy(update={"metadata": metadata}).to_json()).hexdigest()

    @property
    def is_newer(self) -> bool:
        """Whether it takes a newer worker to drive it."""
        return self.version > VERSION

    def slice_name(self, first: int) -> str:
        """The object that holds the slice that begins with this index."""
        return f"{self._input}/{first:08d}.jsonl"

    @property
    def slices_name(self) -> str:
        """The object that says which slices there are."""
        return f"{self._input}/slices.json"

    @property
    def invalid_name(self) -> str:
        """The object that holds the errors of the lines that were left out."""
        return f"{self._input}/invalid.jsonl"

    @property
    def _input(self) -> str:
        return f"{batch_folder(self.batch_id)}/input/{self.input}"


class SliceIndex:
    """Which slices a batch's lines are in: the first index of each, in order, and its bytes."""

    def __init__(self, slices: Sequence[tuple[int, int]], total: int) -> None:
        self.firsts = [first for first, _ in slices]
        self._sizes = [size for _, size in slices]
        self._total = total

    def place(self, index: int) -> tuple[int, int]:
        """The first index of the slice that has this line, and the bytes of a line of it, on average."""
        place = bisect_right(self.firsts, index) - 1
        first, *following = self.firsts[place : place + 2]
        lines = (following[0] if following else self._total) - first
        return first, self._sizes[place] // max(1, lines)

    @classmethod
    def parse(cls, content: bytes, batch: BatchJob) -> Self:
        """What `to_json` gave."""
        return cls(orjson.loads(content), batch.total)

    def to_json(self) -> bytes:
        """As it is stored: [[first index, bytes], …]."""
        return orjson.dumps(list(zip(self.firsts, self._sizes, strict=True)))


class _Named(Document):
    """What a stored line is called, whatever else it says."""

    model_config = ConfigDict(extra="ignore")

    custom_id: Name


class BatchLine(Document):
    """One request of a batch. `index` counts the accepted lines from 0."""

    index: Count
    custom_id: Name
    job: ChatJob

    @classmethod
    def parse(cls, line: bytes, batch: BatchJob) -> Self:
        """A stored line; its job belongs to the batch's owner and has the id `line_id`. It was measured when
        it was taken in, by the settings of who did that. Raises ValidationError for what is no such line.
        """
        try:
            fields = orjson.loads(line)
            owned = {
                "job_id": line_id(batch.batch_id, fields["index"]),
                "user": batch.user,
                "tenant": batch.tenant,
            }
            job = {**fields["job"], **owned}
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise ValidationError("what is stored of a line of the batch is none") from None
        asked = ChatJob.model_validate(job, context={"bytes": 0})
        return cls.validated({**fields, "job": asked})

    @staticmethod
    def name_of(line: bytes, default: str) -> str:
        """The custom id of a stored line that may be unusable otherwise; `default` where it says none."""
        try:
            return _Named.model_validate_json(line).custom_id
        except ValidationError:
            return default

    def to_line(self) -> bytes:
        """The line as it is stored, without what says nothing; ends with a newline. Its priority, that of the
        key that asks, says nothing: a line waits for no worker.
        """
        unsaid = {"job_id", "priority", "user", "tenant", "version"}
        job = self.job.model_dump(mode="json", exclude=unsaid)
        said = {name: value for name, value in job.items() if value != _UNSAID.get(name)}
        return orjson.dumps({"index": self.index, "custom_id": self.custom_id, "job": said}) + b"\n"


class BatchResult(Document):
    """What became of a line: a response, which for one that failed says why. The nth in order of completion
    is the nth line of all parts.
    """

    index: Count
    custom_id: Name
    response: ChatResponse

    def to_line(self) -> bytes:
        """The result as it is stored; ends with a newline."""
        return self.to_json() + b"\n"


class BatchView(Document):
    """A batch at one moment. Times are Unix seconds; None: that has not happened.

    `tokens` and `cost` (US dollars; None: a price is not known) are of all lines so far. `results` have been
    written, the first `flushed` of them are in parts. `drivers` work on it now. `cursor` is the seq before
    its first event.
    """

    batch: BatchJob
    status: BatchStatus
    counts: RequestCounts
    tokens: Count = 0
    cost: Real | None = optional()
    results: Count = 0
    flushed: Count = 0
    running: Count = 0
    drivers: Count = 0
    cursor: Count = 0
    created_at: Real
    expires_at: Real
    in_progress_at: Real | None = optional()
    cancelling_at: Real | None = optional()
    finalizing_at: Real | None = optional()
    ended_at: Real | None = optional()
    error: ErrorInfo | None = optional()
    webhook: Text | None = optional()
    """How it stands once the batch has ended: `delivered`, `given up`, or how often it failed."""
    stored: Flag = mark()
    """Whether output.jsonl and errors.jsonl are written."""


def new_batch_id(tenant: str | None, idempotency_key: str | None) -> str:
    """The id of a new batch. Of equal keys it is equal: they must meet in one place."""
    if idempotency_key is None:
        return new_session_id()
    return session_for(tenant, f"batch:{idempotency_key}")  # not the session of a job with this key


def line_id(batch_id: str, index: int) -> str:
    """The id under which a line runs, as a job's: the same each time that it is begun."""
    return f"{batch_id}.{index}"


def part_name(batch_id: str, first: int, last: int) -> str:
    """The object that holds these results, counted from 1 in order of completion."""
    return f"{batch_folder(batch_id)}/parts/{first:08d}-{last:08d}.jsonl"


def output_name(batch_id: str) -> str:
    """The object that holds the answers, at the end."""
    return f"{batch_folder(batch_id)}/output.jsonl"


def errors_name(batch_id: str) -> str:
    """The object that holds the errors, at the end."""
    return f"{batch_folder(batch_id)}/errors.jsonl"


def batch_folder(batch_id: str) -> str:
    """Where everything of a batch is."""
    return f"batches/{batch_id}"


_UNSAID: Final = ChatJob(messages="-").model_dump(mode="json", exclude={"messages"})
"""Top-level fields of a job that say nothing with these values: a stored line leaves them out."""
