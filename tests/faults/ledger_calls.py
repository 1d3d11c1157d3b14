"""Calls on the ledger, each with what the model says of it.

A call can be made again as it is, blindly, at any time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import orjson

from palaver.shared.errors import ErrorInfo, ValidationError
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import Keys, Retention, exchange, incoming, operations
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.replies import Passed, SweepTurn
from tests.faults.ledger_model import Model

KEYS: Final = Keys()
RETENTION: Final = Retention(job=1799.951, log=299.951)
"""No sum of the machine's other times meets these: nothing vanishes in the millisecond of a call."""
LEASE: Final = 4_000
"""ms"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job is."""

    session_id: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call: for the scripts, and for the model."""

    name: str
    place: Place
    begin: Callable[[], Exchange[Any]] = field(repr=False)
    expect: Callable[[Model], Any] = field(repr=False)
    about: str = ""


def submit(job: ChatJob) -> Call:
    """The job is complete: two equal calls are one submit."""
    about = f"{job.on_busy} key={job.idempotency_key} {job.messages[0].content} run_at={job.run_at}"
    place = Place(operations.session_of(job), job.job_id)
    begin = partial(incoming.submit, KEYS, job, retention=RETENTION)
    return Call("submit", place, begin, lambda model: model.submit(job), about)


def refuse(at: Place) -> Call:
    error = ErrorInfo.of(ValidationError("It names no message.", param="messages"))
    operation = operations.refuse(KEYS, at.session_id, at.job_id, error, retention=RETENTION)
    return Call(
        "refuse", at, partial(exchange.run, operation), lambda model: model.refuse(at.session_id, at.job_id)
    )


def claim(at: Place, *, token: str, worker: str, queue: str = "") -> Call:
    operation = operations.claim(
        KEYS, at.session_id, at.job_id, token=token, worker=worker, lease=LEASE / 1000, queue=queue
    )
    return Call(
        "claim",
        at,
        partial(exchange.run, operation),
        lambda model: model.claim(at.job_id, token=token, worker=worker, lease=LEASE),
        token,
    )


def append(at: Place, *, fence: str, first: int, events: Sequence[dict[str, Any]]) -> Call:
    """`events` are dicts of `type` and `data`."""
    parts = {"text_chunk": "", "reasoning_chunk": ""}
    for event in events:
        if event["type"] in parts:
            parts[event["type"]] += event["data"]["delta"]
    operation = operations.append(
        KEYS,
        at.session_id,
        at.job_id,
        fence=fence,
        first=first,
        events=[orjson.dumps(event)[1:-1] for event in events],
        text=parts["text_chunk"],
        reasoning=parts["reasoning_chunk"],
        reset=events[0]["type"] == "stream_start" and events[0]["data"]["offset"] == 0,
    )
    return Call(
        "append",
        at,
        partial(exchange.run, operation),
        lambda model: model.append(at.job_id, fence=fence, first=first, events=list(events)),
        f"{fence} {first}-{first + len(events) - 1} {events[0]['type']} {parts['text_chunk']!r}",
    )


def renew(at: Place, *, fence: str) -> Call:
    operation = operations.renew(KEYS, at.session_id, at.job_id, fence=fence, lease=LEASE / 1000)
    return Call(
        "renew",
        at,
        partial(exchange.run, operation),
        lambda model: model.renew(at.job_id, fence=fence, lease=LEASE),
        f"{fence}",
    )


def save_entry(at: Place, *, fence: str, number: int) -> Call:
    content = b'{"entry":%d,"by":"%b"}' % (number, fence.encode())
    # None, one or two of them.
    events = [{"type": "tool_result", "data": {"id": f"{number}.{nth}"}} for nth in range(number % 3)]
    operation = operations.save_entry(
        KEYS,
        at.session_id,
        at.job_id,
        fence=fence,
        number=number,
        content=content,
        events=[orjson.dumps(event)[1:-1] for event in events],
    )
    return Call(
        "save_entry",
        at,
        partial(exchange.run, operation),
        lambda model: model.save_entry(at.job_id, fence=fence, number=number, content=content, events=events),
        f"{fence} number={number}",
    )


def note_failures(at: Place, *, fence: str, failures: int) -> Call:
    operation = operations.note_failures(KEYS, at.session_id, at.job_id, fence=fence, failures=failures)
    return Call(
        "note_failures",
        at,
        partial(exchange.run, operation),
        lambda model: model.note_failures(at.job_id, fence=fence, failures=failures),
        f"{fence} failures={failures}",
    )


def release(at: Place, *, fence: str, resume_at: int) -> Call:
    """`resume_at` in ms, 0 for at once."""
    operation = operations.release(
        KEYS, at.session_id, at.job_id, fence=fence, resume_at=resume_at / 1000 or None
    )
    return Call(
        "release",
        at,
        partial(exchange.run, operation),
        lambda model: model.release(at.job_id, fence=fence, resume_at=resume_at),
        f"{fence} resume_at={resume_at}",
    )


def finish(at: Place, *, fence: str, status: Status, history: Sequence[bytes]) -> Call:
    """As a worker ends a job: a response if it completed, else an error, in the event and beside it."""
    what = {"response": {"content": "whole"}} if status is Status.COMPLETED else {"error": {"code": "x"}}
    end = {"status": status.value, **what}
    operation = operations.finish(
        KEYS,
        at.session_id,
        at.job_id,
        fence=fence,
        status=status,
        end=orjson.dumps({"type": "stream_end", "data": end})[1:-1],
        response=orjson.dumps(what["response"]) if "response" in what else None,
        error=orjson.dumps(what["error"]) if "error" in what else None,
        history=history,
        retention=RETENTION,
    )
    parsed = [orjson.loads(message) for message in history]
    return Call(
        "finish",
        at,
        partial(exchange.run, operation),
        lambda model: model.finish(at.job_id, fence=fence, end=end, history=parsed),
        f"{fence} {status}",
    )


def cancel(at: Place, *, mode: Any) -> Call:
    operation = operations.cancel(KEYS, at.session_id, at.job_id, mode=mode, retention=RETENTION)
    return Call(
        "cancel", at, partial(exchange.run, operation), lambda model: model.cancel(at.job_id, mode=mode), mode
    )


def expire(at: Place) -> Call:
    operation = operations.expire(KEYS, at.session_id, at.job_id, retention=RETENTION)
    return Call("expire", at, partial(exchange.run, operation), lambda model: model.expire(at.job_id))


def look(
    at: Place,
    *,
    turn: SweepTurn,
    grace: int = 0,
    worker: Any = "",
    passed: Mapping[str, Passed] = MappingProxyType({}),
) -> Call:
    operation = operations.look(
        KEYS,
        at.session_id,
        at.job_id,
        retention=RETENTION,
        turn=turn,
        grace=grace / 1000,
        worker=worker,
        passed=passed,
    )
    return Call(
        "look",
        at,
        partial(exchange.run, operation),
        lambda model: model.look(
            at.session_id, at.job_id, turn=turn, grace=grace, worker=worker, passed=passed
        ),
        f"{turn} grace={grace} worker={worker} passed={dict(passed)}",
    )
