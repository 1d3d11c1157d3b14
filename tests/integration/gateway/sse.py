"""Server-sent events as a client reads them, by the standard: ids, data, comments, retry hints."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx2


class Told(NamedTuple):
    """One event of a stream, or a `comment` or `retry` of it."""

    kind: str
    value: Any
    id: int | None = None


def told(response: httpx2.Response) -> Iterator[Told]:
    """What a stream says, in order."""
    seq, data = None, None
    for line in response.iter_lines():
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data is not None:
                yield Told("event", json.loads(data), seq)
            data = None
        elif not name:
            yield Told("comment", value)
        elif name == "retry":
            yield Told("retry", int(value))
        elif name == "id":
            seq = int(value)
        elif name == "data":
            assert data is None, "every event is one line"
            data = value


@contextmanager
def following(http: httpx2.Client, session_id: str, **options: Any) -> Iterator[Iterator[dict[str, Any]]]:
    """The events of a session; `after`, `job` and `headers` are options."""
    headers = options.pop("headers", {})
    with http.stream("GET", f"/sessions/{session_id}/events", params=options, headers=headers) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield (item.value for item in told(response) if item.kind == "event")


def until_end(events: Iterator[dict[str, Any]], job_id: str) -> list[dict[str, Any]]:
    """All events up to the end of a job."""
    found = []
    for event in events:
        found.append(event)
        if event["type"] == "stream_end" and event["job_id"] == job_id:
            return found
    raise AssertionError(f"the stream ended before job {job_id}")
