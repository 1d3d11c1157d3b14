"""What the ledger answers. Times are seconds unless a name says otherwise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, Self

from palaver.shared.ids import new_token
from palaver.shared.jobs import Status
from palaver.shared.ledger.views import JobView
from palaver.shared.names import QUEUES, TASK_BATCH, TASK_CHAT, TASK_PROBE, Queue

Place = tuple[str, str]
"""Session id and job id."""
CANARY: Final = "canary"
LATE: Final = 1.5
"""Of a lease: what a canary, a sweep or a worker's question for messages may take."""
STARVED: Final = 4
"""Times that: no canary waits so long for a queue before its own in which nothing waits."""
BACKLOG_SECONDS: Final = 0.1
"""A message that was in its queue for so long has others before it, or behind."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send this Celery message now: the job has the turn, or the batch wants another driver."""

    session_id: str
    job_id: str
    queue: str

    @classmethod
    def batch(cls, batch_id: str) -> Self:
        """The message to a driver of a batch."""
        return cls(batch_id, batch_id, Queue.BATCH)

    @property
    def task(self) -> str:
        """The Celery task."""
        return TASK_BATCH if self.queue == Queue.BATCH else TASK_CHAT

    @property
    def args(self) -> tuple[str, ...]:
        """The task's arguments."""
        return (self.session_id,) if self.queue == Queue.BATCH else (self.session_id, self.job_id)

    @property
    def task_id(self) -> str:
        """The message's own id: of a job there is one, of a batch there are as many as drivers."""
        return f"{self.job_id}.{new_token()[:8]}" if self.queue == Queue.BATCH else self.job_id


class Sendable(Protocol):
    """A Celery message of ours."""

    @property
    def queue(self) -> str:
        """As the ledger names it."""

    @property
    def task(self) -> str:
        """The Celery task."""

    @property
    def args(self) -> tuple[str | int, ...]:
        """Its arguments."""

    @property
    def task_id(self) -> str:
        """The message's own id."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A message that says how long its queue makes one wait; `sent` in ms of Redis time."""

    queue: str
    sent: int

    @property
    def task(self) -> str:
        """The Celery task."""
        return TASK_PROBE

    @property
    def args(self) -> tuple[str | int, ...]:
        """The task's arguments; see `parse`."""
        return (CANARY, self.queue, self.sent)

    @property
    def task_id(self) -> str:
        """The message's own id."""
        return f"{CANARY}.{self.queue}.{self.sent}"

    @classmethod
    def parse(cls, args: object) -> Self | None:
        """The canary that a task's arguments name, if they do."""
        match args:
            case [str(word), str(queue), int(sent)] if word == CANARY and queue in QUEUES:
                return cls(queue, sent)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryState:
    """Of a queue: for so many seconds its canary waits (0: it was taken), so long the last had waited."""

    waits_for: float
    waited: float | None

    @property
    def stands_in_line(self) -> bool:
        """Whether messages wait in its queue, as far as it has found."""
        return max(self.waits_for, self.waited or 0.0) >= BACKLOG_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Vigil:
    """At a `time` of Redis: the canaries by their queues, and how many seconds ago a sweep was completed
    (None: nobody has noted one).
    """

    time: float
    canaries: dict[str, CanaryState]
    swept_ago: float | None

    def untaken(self, seconds: float, taken: Mapping[str, float]) -> dict[str, float]:
        """Queues whose canary waits for longer than that, and how long, although nobody was busy with what
        comes before it: from that queue and those before it nothing was taken within that time either.

        A canary that is much later is not excused by a queue before its own in which nothing waits, whatever
        is taken from it. `taken` is how many seconds ago a message of a queue was.
        """
        found, before, in_line = {}, math.inf, math.inf
        for queue in QUEUES:
            state, ago = self.canaries.get(queue), taken.get(queue, math.inf)
            before = min(before, ago)
            waits_for = 0.0 if state is None else state.waits_for
            if min(waits_for, before) > seconds or min(waits_for / STARVED, ago, in_line) > seconds:
                found[queue.value] = waits_for
            if state is None or state.stands_in_line:
                in_line = min(in_line, ago)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The job is stored.

    `cursor` is the seq before its first event; `created` is False if the idempotency key had one.
    """

    session_id: str
    job_id: str
    cursor: int
    created: bool
    status: Status
    position: int  # jobs ahead in the session
    dispatch: Dispatch | None  # usually this job; another one if a dead turn was repaired


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The job ended as failed before it began; or a job of this id `existed` and was left alone."""

    status: Status
    cursor: int
    existed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The worker has the job. Text, reasoning and journal are what earlier attempts left."""

    session_id: str
    job_id: str
    attempt: int
    fence: str  # of this one claim: with it every later call says whose it is
    job: bytes = field(repr=False)  # the document
    text: str = field(repr=False)
    reasoning: str = field(repr=False)
    journal: list[bytes] = field(repr=False)
    history: list[bytes] = field(repr=False)
    failures: int  # provider errors so far
    tries: bytes  # what `note_failures` stored with them
    cancelled: str  # the mode in which its end was asked for, '' if it was not
    deadline: float  # seconds left, negative when it has passed
    spent: bytes = field(default=b"", repr=False)  # what was stored last of it
    gate: str = ""  # at which it has waited, and may have a place
    begun: float = 0.0  # seconds since its first attempt began
    waited: float | None = None  # in the queue that its message came from, if that is known


@dataclass(frozen=True, slots=True)
class NotClaimed:
    """Nothing to do for this message. `leased` also while an expired lease waits for a sweep to free it."""

    reason: Literal["gone", "ended", "leased", "waiting", "not_due"]
    gate: str = ""  # the profile at whose gate an ended job had waited


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """The events are logged. `cancelled` is cancel, interrupt, rollback, expire or ''."""

    cancelled: str
    last_taken: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """The lease was extended."""

    cancelled: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An entry of the journal or a count was stored; `count` is the number stored now."""

    cancelled: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSession:
    """What a session has for an agent. Contexts are JSON: what the session was made with, and the agent's
    own (empty: none). `makes`: this job is to make the agent's own.
    """

    cancelled: str
    user: str | None
    anonymous_id: str | None
    context: bytes = field(repr=False)
    own: bytes = field(repr=False)
    makes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The job has ended. `seq` is that of its stream_end, `dispatch` the job that has the turn now."""

    status: Status
    seq: int
    dispatch: Dispatch | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The job's status now; while it has not `ended`, its worker has been asked to end it."""

    status: Status
    dispatch: Dispatch | None

    @property
    def ended(self) -> bool:
        """Whether the stream_end is written."""
        return self.status.ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """As `Cancelled`, for a job past its deadline; `early` is the time left if it is not past it."""

    status: Status
    dispatch: Dispatch | None
    early: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether the stream_end is written."""
        return self.status.ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """A job as somebody sees it, and who has the turn if it ended by that."""

    view: JobView
    dispatch: Dispatch | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The job is free, or parked if there is nothing to dispatch."""

    dispatch: Dispatch | None


@dataclass(frozen=True, slots=True)
class Due:
    """An entry of `due`: a job that a sweeper is to look at; `score` in ms of Redis time."""

    session_id: str
    job_id: str
    score: int

    @property
    def place(self) -> Place:
        """Where the job is."""
        return self.session_id, self.job_id


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTurn:
    """This process sweeps now.

    Between `stopped` and `resumed` no sweeper was heard of, for the last time: Redis stood still, or all
    workers did, or there were none. All three are Redis's time. Its clock was set back by `behind`, and no
    sweep has seen to it yet.
    """

    time: float
    stopped: float
    resumed: float
    behind: float = 0.0


@dataclass(frozen=True, slots=True)
class Passed:
    """How far a broker queue is: a message sent before this ms of Redis time has left it.

    If its job still waits it was lost, and is sent again, to the queue `resend_to`.
    """

    before: int
    resend_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look found and did.

    `gone` and `ended` need no further look; the detail of `ended` is the status. `unsure`: a lease has
    expired, the detail is its worker; find out whether that is alive and look again. `queued`: its message
    waits in `queue`; look again when that has passed it.
    """

    outcome: Literal["ok", "gone", "ended", "unsure", "queued"]
    next_look: int  # ms of Redis time
    dispatch: Dispatch | None
    detail: str
    queue: str = ""
    sent: int = 0  # ms of Redis time: when the message was sent at the earliest


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """One sweep. `dispatches` are to be sent now; `full` says that there is more to look at already."""

    dispatches: list[Dispatch]
    looked: int = 0
    ended: int = 0
    freed: int = 0  # leases that had run out
    full: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """The cache has the answer."""

    answer: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lead:
    """It has none, and whoever asked leads: its answer is for all who ask the same."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Somebody else leads; without a sign of life it leads for so many seconds more."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOut:
    """What became of places that were free: parked jobs that have one, to be sent now."""

    dispatches: list[Dispatch]
    next_look: int  # ms of Redis time when more may be free for who waits; 0: nobody waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Jobs were noted as begun."""

    waiting: int  # jobs in lines, for the same queues
    dispatches: list[Dispatch]  # jobs whose turn it was, to be sent before what stands in the queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a job stands that waits for a worker."""

    ahead: int | None  # jobs; None: it stands in no line
    a_second: float  # jobs that were begun lately, over all queues; 0: that is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Visited:
    """Whether a request has its place at the gate; if not, what it has to expect."""

    has_place: bool
    ahead: int  # of it, of all lines
    seconds: float  # until it has a place, about
    closed_for: float  # seconds; 0: the gate is open
    dispatches: list[Dispatch]  # others that have one now, to be sent
