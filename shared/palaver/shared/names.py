"""Names that several programs must agree on: Celery tasks and queues."""

from enum import StrEnum
from typing import Final

TASK_CHAT: Final = "palaver.chat"
TASK_SUBMIT: Final = "palaver.submit"
TASK_BATCH: Final = "palaver.batch"
TASK_PROBE: Final = "palaver.probe"

DEFAULT_NAMESPACE: Final = "palaver"
DEFAULT_PRIORITY: Final = 5
NORMAL_MOST: Final = 6
"""The highest priority whose jobs pass no others but those of a low one."""


class Queue(StrEnum):
    """A Celery queue. The value is its name in the ledger, and on the broker in the default namespace."""

    RESUME = "palaver.resume"
    HIGH = "palaver.high"
    NORMAL = "palaver.normal"
    LOW = "palaver.low"
    BATCH = "palaver.batch"
    SUBMIT = "palaver.submit"


QUEUES: Final = (Queue.RESUME, Queue.HIGH, Queue.NORMAL, Queue.LOW, Queue.SUBMIT, Queue.BATCH)
"""All queues in the order in which workers consume them."""


def queue_name(queue: str, namespace: str = DEFAULT_NAMESPACE) -> str:
    """A queue's name on the broker, which several systems may share: `x.normal` in the namespace `x`."""
    return f"{namespace}.{queue.rpartition('.')[2]}"


def queue_for(priority: int = DEFAULT_PRIORITY) -> Queue:
    """The queue of a job with this priority (0-9, 9 first)."""
    if priority >= 7:
        return Queue.HIGH
    return Queue.NORMAL if priority >= 4 else Queue.LOW
