"""What a reader is told about jobs and sessions: snapshots, decoded only as far as somebody looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

import orjson

from palaver.shared.errors import ErrorInfo
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.responses import ChatResponse


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a job has to expect that waits for a worker, or at a gate, about."""

    position: int  # jobs ahead of it, of all tenants
    seconds: float | None  # until it goes on; None: nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """An operator's: the provider is not asked."""

    by: str  # user@host
    seconds: float  # left of it, unless the provider is resumed before


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A gate: what holds requests to their profile's limits, or jobs to what their tenant may have."""

    name: str  # of the profile, or `tenant/NAME`
    closed_for: float  # seconds that the provider has asked for; 0: it is open
    paused: Pause | None  # by an operator
    waiting: int  # requests, or jobs
    running: int  # those that have a place


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job at one moment. Times are Unix seconds; `text` is the partial text of a job without a response."""

    job_id: str
    session_id: str
    status: Status
    attempt: int
    failures: int  # provider errors so far
    created: float
    started: float | None
    ended: float | None
    time_left: (
        float  # seconds to the deadline by Redis's clock; negative: it has passed; 0: the job has ended
    )
    cursor: int  # the seq before the job's first event
    end_seq: int | None  # the seq of its stream_end
    position: int  # jobs ahead of it in its session
    model: str  # as it was asked for; a fallback list with commas
    due: float | None  # when a parked job goes on; one at a gate perhaps earlier
    gate: str | None  # at which a parked job waits for its turn: a profile's, or `tenant/NAME`
    prospect: Prospect | None  # what it has to expect there, or in its queue; see `client.job(…).view()`
    queue: str | None = None  # the broker's, in which its message waits
    sent: float | None = None  # when that was sent, at the earliest, by Redis's clock
    webhook: str | None  # of an ended job: `delivered`, `given up`, or how often it failed
    held: bool  # a worker has a live lease
    worker: str | None
    text: str = field(repr=False)
    reasoning: str = field(repr=False)
    response_json: bytes | None = field(repr=False)
    error_json: bytes | None = field(repr=False)
    document_json: bytes | None = field(repr=False)  # only if it was asked for

    @property
    def ready(self) -> bool:
        """It waits for nothing but a worker."""
        return self.status is Status.QUEUED and self.sent is not None and not self.position

    @property
    def overdue(self) -> bool:
        """Past its deadline and not ended: whoever sees it runs `expire`."""
        return self.time_left <= 0 and not self.status.ended

    @property
    def response(self) -> ChatResponse | None:
        """The answer of an ended job, if there is one."""
        return None if self.response_json is None else ChatResponse.model_validate_json(self.response_json)

    @property
    def error(self) -> ErrorInfo | None:
        """Why an ended job did not complete."""
        return None if self.error_json is None else ErrorInfo.model_validate_json(self.error_json)

    @property
    def document(self) -> ChatJob | None:
        """The job itself, if it was asked for."""
        return None if self.document_json is None else ChatJob.parse(self.document_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A job that failed or expired, without anything that was asked or answered. Times are Unix seconds."""

    job_id: str
    session_id: str
    status: Status
    model: str  # as it was asked for; a fallback list with commas
    attempts: int
    failures: int  # provider errors
    deaths: int  # of its workers, in succession
    created: float
    ended: float
    age: float  # seconds since it ended, by Redis's clock
    error: ErrorInfo | None  # the last one, `without_words`

    @property
    def reason(self) -> str:
        """The code of the error."""
        return str(self.status) if self.error is None else self.error.code


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWebhook:
    """Where a job's end is told, and how that stands. Times are Unix seconds."""

    created: float
    ended: float | None  # None: it goes on
    standing: str | None  # `delivered`, `given up`, or how often it failed
    url: str | None = field(repr=False)  # None: it has no webhook
    tenant: str | None
    metadata: dict[str, Any] = field(repr=False)  # of the job, for the receiver


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A session and some of its jobs, all of one moment. `seq` is that of its last event.

    `ended` are the ids of jobs that ended after the seq that was asked for, in that order; `forgotten`: there
    may have been more, of which the ledger knows nothing any more.
    """

    session_id: str
    time: float  # of Redis
    seq: int
    active: str | None
    waiting: list[str]
    jobs: dict[str, JobView]
    ended: list[str]
    forgotten: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBounds:
    """The log of a session: its first and last entry (0: it is empty) and the session's own `seq`."""

    first: int
    last: int
    seq: int


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a live worker says; `time` (Unix seconds) is when it said so last."""

    name: str
    time: float
    data: dict[str, Any]


class _Past(NamedTuple):
    """The numbers of a job that move into one field, `done`, when it ends. Times in ms; 0: not yet."""

    created: int
    started: int
    ended: int
    end_seq: int
    attempt: int
    cursor: int

    @classmethod
    def parse(cls, done: bytes) -> Self:
        # An attempt that a worker ended has the rest of its claim's fence behind a colon.
        return cls(*(int(word.partition(b":")[0]) for word in done.split()[:6]))


def decode_snapshot(session_id: str, raw: Sequence[Any]) -> Snapshot:
    """A Snapshot from the reply of the snapshot script."""
    now, seq, active, waiting, jobs, ended, more = raw
    line = [jid.decode() for jid in waiting]
    holder = active.decode() or None
    views = [_view(session_id, job, int(now), holder, line) for job in jobs]
    return Snapshot(
        session_id=session_id,
        time=int(now) / 1000,
        seq=int(seq),
        active=holder,
        waiting=line,
        jobs={view.job_id: view for view in views},
        ended=[jid.decode() for jid in ended],
        forgotten=bool(more),
    )


def _view(session_id: str, raw: Sequence[Any], now: int, active: str | None, line: list[str]) -> JobView:
    job_id = raw[0].decode()
    fields: dict[bytes, bytes] = dict(zip(raw[1::2], raw[2::2], strict=True))

    def number(name: bytes) -> int:
        return int(fields.get(name, b"0"))

    status = Status(fields[b"status"].decode())
    if b"done" in fields:
        past = _Past.parse(fields[b"done"])
    else:
        cursor = int(fields.get(b"first", b"0").partition(b" ")[0])
        past = _Past(number(b"created"), number(b"started"), 0, 0, number(b"attempt"), cursor)
    due = max(number(b"parked"), number(b"resume"))
    return JobView(
        job_id=job_id,
        session_id=session_id,
        status=status,
        attempt=past.attempt,
        failures=number(b"failures"),
        created=past.created / 1000,
        started=past.started / 1000 if past.started else None,
        ended=past.ended / 1000 if past.ended else None,
        time_left=0.0 if status.ended else (number(b"deadline") - now) / 1000,
        cursor=past.cursor,
        end_seq=past.end_seq or None,
        position=_position(job_id, active, line),
        model=fields.get(b"model", b"").decode(),
        due=due / 1000 if due else None,
        gate=fields[b"gate"].decode() if b"gate" in fields and not status.ended else None,
        prospect=None,
        queue=fields[b"queue"].decode() if b"queue" in fields else None,
        sent=number(b"sent") / 1000 or None,
        webhook=fields[b"hook"].decode() if b"hook" in fields else None,
        held=number(b"lease") > now,
        worker=fields[b"worker"].decode() if b"worker" in fields else None,
        text=fields.get(b"text", b"").decode(),
        reasoning=fields.get(b"reasoning", b"").decode(),
        response_json=fields.get(b"response"),
        error_json=fields.get(b"error"),
        document_json=fields.get(b"doc"),
    )


def decode_dead_letter(
    session_id: str, job_id: str, fields: Mapping[str, bytes | None], now: float
) -> DeadLetter:
    """A DeadLetter from fields of the hash of an ended job; `now` is Redis's time in seconds."""
    past = _Past.parse(fields["done"] or b"0 0 0 0 0 0")
    return DeadLetter(
        job_id=job_id,
        session_id=session_id,
        status=Status((fields["status"] or b"").decode()),
        model=(fields["model"] or b"").decode(),
        attempts=past.attempt,
        failures=int(fields["failures"] or 0),
        deaths=int(fields["deaths"] or 0),
        created=past.created / 1000,
        ended=past.ended / 1000,
        age=max(0.0, now - past.ended / 1000),
        error=ErrorInfo.model_validate_json(fields["error"]).without_words() if fields["error"] else None,
    )


WEBHOOK_FIELDS: Final = ("status", "created", "done", "notice", "hook")


def decode_webhook(values: Sequence[bytes | None]) -> JobWebhook | None:
    """A JobWebhook from the `WEBHOOK_FIELDS` of a job's hash; None if there is none."""
    status, created, done, notice, standing = values
    if status is None:
        return None
    past = None if done is None else _Past.parse(done)
    told = {"url": None, "tenant": None, "metadata": {}} if notice is None else orjson.loads(notice)
    return JobWebhook(
        created=(int(created or 0) if past is None else past.created) / 1000,
        ended=None if past is None else past.ended / 1000,
        standing=None if standing is None else standing.decode(),
        **told,
    )


def _position(job_id: str, active: str | None, line: list[str]) -> int:
    if job_id not in line:
        return 0
    return line.index(job_id) + (1 if active else 0)


def decode_announcements(raw: Sequence[bytes]) -> list[Announcement]:
    """From the reply of the announced script."""
    found = []
    for name, content in zip(raw[::2], raw[1::2], strict=True):
        data = orjson.loads(content)
        del data["expires"]
        found.append(Announcement(name.decode(), data.pop("time"), data))
    return sorted(found, key=lambda announcement: announcement.name)
