"""A task's message as Celery's protocol 2 has it, so that no producer imports Celery; pure.

It shows ids and names of what is configured, and nothing else.
Protocol: https://docs.celeryq.dev/en/stable/internals/protocol.html
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson

from palaver.shared.ids import new_token
from palaver.shared.ledger import Dispatch
from palaver.shared.names import TASK_CHAT

_EMBEDDED: Final = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMessage:
    """A call of `task`, for the workers of `queue` (as the ledger names it)."""

    task: str
    task_id: str
    args: tuple[str | None, ...]
    queue: str
    expires: str | None = None  # when it means nothing any more, as ISO 8601

    @classmethod
    def of(cls, dispatch: Dispatch) -> Self:
        """The message that has a stored job run."""
        args = (dispatch.session_id, dispatch.job_id)
        return cls(task=TASK_CHAT, task_id=dispatch.job_id, args=args, queue=dispatch.queue)

    def body(self) -> bytes:
        """Its arguments, as JSON."""
        return orjson.dumps([self.args, {}, _EMBEDDED])

    def headers(self, origin: str) -> dict[str, Any]:
        """What a worker and Flower know of it; `origin` names who sends it."""
        return {
            "lang": "py",
            "task": self.task,
            "id": self.task_id,
            "root_id": self.task_id,
            "parent_id": None,
            "group": None,
            "group_index": None,
            "shadow": None,
            "eta": None,
            "expires": self.expires,
            "retries": 0,
            "timelimit": [None, None],
            "argsrepr": repr(self.args),
            "kwargsrepr": "{}",
            "origin": origin,
            "ignore_result": True,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
        }

    def entry(self, queue: str, origin: str) -> bytes:
        """The message as kombu's Redis transport has it in the list of the broker's queue `queue`."""
        properties = {
            "correlation_id": self.task_id,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": new_token(),
        }
        return orjson.dumps(
            {
                "body": b64encode(self.body()).decode(),
                "content-encoding": "utf-8",
                "content-type": "application/json",
                "headers": self.headers(origin),
                "properties": properties,
            }
        )
