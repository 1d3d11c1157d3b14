"""A probe: the question to whichever worker takes it, how a provider is; pure but for the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from palaver.producer.prepare import check_timeout
from palaver.producer.task_message import TaskMessage
from palaver.shared.errors import ServiceUnavailableError
from palaver.shared.health import Health
from palaver.shared.ids import new_token
from palaver.shared.jobs import MAX_DEADLINE
from palaver.shared.names import TASK_PROBE, Queue
from palaver.shared.plain import refuse, shape

PROBE_SECONDS: Final = 10.0
"""A worker gives a provider a little less."""
SPARE_SECONDS: Final = 60.0
"""For clocks that differ."""


def probe_message(profile: str, model: str | None, timeout: float) -> TaskMessage:
    """The message; it means nothing any more when nobody waits for its answer. Raises ValidationError."""
    check_timeout(timeout)
    if timeout is None:
        refuse("timeout", "must be a number of seconds")
    for name, value in (("profile", profile), ("model", model)):
        if not isinstance(value, str) and (value is not None or name == "profile"):
            refuse(name, f"must be a name, not {shape(value)}")
    expires = datetime.now(UTC) + timedelta(seconds=min(timeout, MAX_DEADLINE) + SPARE_SECONDS)
    args = (new_token(), profile, model)
    return TaskMessage(
        task=TASK_PROBE, task_id=args[0], args=args, queue=Queue.HIGH, expires=expires.isoformat()
    )


def health_of(answer: bytes) -> Health:
    """What the worker answered."""
    return Health.validated(orjson.loads(answer))


def no_worker(timeout: float) -> ServiceUnavailableError:
    """The error of a probe that nobody answered."""
    return ServiceUnavailableError(
        f"no worker answered within {timeout:g} seconds: none runs, or all are busy; see palaver status"
    )
