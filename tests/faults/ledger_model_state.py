"""What the model of the ledger remembers of sessions and jobs. Times are in milliseconds."""

from dataclasses import dataclass, field
from typing import Any

from palaver.shared.jobs import ChatJob, OnBusy, Status
from palaver.shared.ledger import Dispatch


@dataclass
class Session:
    """A session's turn, line, history, and log without the news about the line."""

    session_id: str
    active: str | None = None
    line: list[str] = field(default_factory=list)
    line_vanishes: int = 0  # when the line may be gone, with all the jobs that were ever in it
    messages: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)


@dataclass
class Job:
    """What the ledger knows of a job."""

    job_id: str
    session: Session
    document: ChatJob | None  # None: it was refused
    deadline: int = 0
    vanishes: int = 0  # when its keys may be gone
    queue: str = ""
    status: Status = Status.QUEUED
    attempt: int = 0
    started: int | None = None  # by its first attempt
    token: str | None = None  # of the claim that holds it
    worker: str = ""
    lease: int = 0
    term: int = 0  # its length
    taken: int = 0  # events of this attempt
    cancel: str = ""
    text: str = ""
    reasoning: str = ""
    journal: list[bytes] = field(default_factory=list)
    failures: int = 0
    deaths: int = 0  # of workers, since one last stored an entry or wrote more than its first event
    sent: int | None = None  # when its message was, at the earliest; None while none is to come
    resends: int = 0  # of a message that nobody claimed
    answered: bool = False  # it ended with a response
    ended_by: str = ""  # the fence of the claim that ended it
    displaced: bool = False  # another job's coming ended it, and left its entry of `due` for a sweeper
    dropped: bool = False  # somebody took its dead letter away
    parked: int | None = None  # not in the line before that
    resume: int | None = None  # given back by a worker, until then
    repaired: Dispatch | None = None  # whom its submit gave the turn
    next: Dispatch | None = None  # whom its end gave the turn

    @property
    def fence(self) -> str:
        """Of the claim that holds it."""
        return f"{self.attempt}:{self.token}"

    @property
    def mode(self) -> OnBusy:
        return self.document.on_busy if self.document else OnBusy.ENQUEUE

    @property
    def user(self) -> list[dict[str, Any]]:
        """What it adds to the history before its answer: of a conversation, the last message."""
        if self.document is None:
            return []
        messages = [{"role": "user", "content": message.content} for message in self.document.messages]
        return messages if self.document.history == "session" else messages[-1:]
