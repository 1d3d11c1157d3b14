"""Names that several programs must agree on: ids, Celery tasks and queues."""

import hashlib
import re
import secrets
from enum import StrEnum
from typing import Final

import uuid_utils

SESSION_ID: Final = r"[A-Za-z0-9._:-]{1,128}"
# No colon: a job id is followed by ":text" and the like in ledger keys.
JOB_ID: Final = r"[A-Za-z0-9._-]{1,128}"

TASK_CHAT: Final = "palaver.chat"
TASK_SUBMIT: Final = "palaver.submit"
TASK_BATCH: Final = "palaver.batch"
TASK_PROBE: Final = "palaver.probe"

DEFAULT_PRIORITY: Final = 5

_SESSION_ID = re.compile(SESSION_ID)
_JOB_ID = re.compile(JOB_ID)


class Queue(StrEnum):
    """A Celery queue; the value is its name on the broker."""

    RESUME = "palaver.resume"
    HIGH = "palaver.high"
    NORMAL = "palaver.normal"
    LOW = "palaver.low"
    BATCH = "palaver.batch"
    SUBMIT = "palaver.submit"


QUEUES: Final = (Queue.RESUME, Queue.HIGH, Queue.NORMAL, Queue.LOW, Queue.SUBMIT, Queue.BATCH)
"""All queues in the order in which workers consume them."""


def queue_for(priority: int = DEFAULT_PRIORITY) -> Queue:
    """The queue of a job with this priority (0-9, 9 first)."""
    if priority >= 7:
        return Queue.HIGH
    return Queue.NORMAL if priority >= 4 else Queue.LOW


def valid_session_id(value: object) -> bool:
    """Whether the value can name a session: it becomes part of Redis keys and of a channel's name."""
    # fullmatch, because "$" also matches before a trailing newline
    return isinstance(value, str) and _SESSION_ID.fullmatch(value) is not None


def valid_job_id(value: object) -> bool:
    """Whether the value can name a job. Ours are UUIDv7; other producers may bring their own."""
    return isinstance(value, str) and _JOB_ID.fullmatch(value) is not None


def new_job_id() -> str:
    """A fresh UUIDv7: unique, and ordered by the time of its making."""
    return str(uuid_utils.uuid7())


def new_session_id() -> str:
    """A fresh session id, for a job whose caller named no session."""
    return str(uuid_utils.uuid7())


def new_token() -> str:
    """128 random bits: the name under which one claim or one submit may be repeated."""
    return secrets.token_hex(16)


def session_for(tenant: str | None, idempotency_key: str) -> str:
    """The session of a job that has an idempotency key and no session: equal keys must meet in one place."""
    # The length prefix keeps ("a", "bc") and ("ab", "c") apart.
    owner = tenant or ""
    digest = hashlib.sha256(f"{len(owner)}:{owner}{idempotency_key}".encode()).hexdigest()
    return f"key-{digest[:40]}"
