"""A session's events as Pusher takes them, and the signature of a request; pure.

https://pusher.com/docs/channels/library_auth_reference/rest-api/
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from palaver.shared.events import AnyEvent, StreamEnd, StreamStart, TextChunk, Widget
from palaver.shared.jobs import Status

__all__ = ["KINDS", "batches", "messages_of", "signed_query"]

KINDS: Final = frozenset(("stream_start", "text_chunk", "stream_end", "widget"))
LARGEST: Final = 10_000  # bytes of an event's data; Pusher takes 10 KB
BATCH: Final = 10  # events of one request
STREAMING: Final = 10_000  # jobs of one worker that wait for their end
_PIECE: Final = 1_500  # characters, which are at most 9,000 bytes of JSON


def messages_of(
    session_id: str, events: Sequence[AnyEvent], streaming: dict[str, None]
) -> list[dict[str, str]]:
    """The events as Pusher's, in order: adjacent chunks of a job are joined, and cut where they are too long.

    What cannot be cut and is too long is told without its data, as `too_large`. Every `stream_start` has its
    `stream_end`: `streaming`, kept here from call to call, are the jobs that wait for it, the latest last.
    """
    channel = f"conversation-session-{session_id.replace(':', ';')}"  # which may be in a channel's name
    told = (
        {"channel": channel, "name": name, "data": _encoded(data)}
        for event in _joined(events)
        for name, data in _told(event, streaming)
    )
    return list(told)


def batches(messages: Sequence[dict[str, str]]) -> Iterator[Sequence[dict[str, str]]]:
    """So many as one request may have."""
    for start in range(0, len(messages), BATCH):
        yield messages[start : start + BATCH]


def signed_query(key: str, secret: str, path: str, body: bytes, now: int) -> str:
    """The query of a POST that its receiver believes; `now` in Unix seconds."""
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    query = f"auth_key={key}&auth_timestamp={now}&auth_version=1.0&body_md5={md5}"
    signature = hmac.new(secret.encode(), f"POST\n{path}\n{query}".encode(), hashlib.sha256).hexdigest()
    return f"{query}&auth_signature={signature}"


def _joined(events: Sequence[AnyEvent]) -> Iterator[AnyEvent]:
    """Adjacent chunks of one job as one, under the name of the first."""
    pending: TextChunk | None = None
    pieces: list[str] = []
    for event in events:
        if isinstance(event, TextChunk) and pending is not None and event.job_id == pending.job_id:
            pieces.append(event.data.delta)
            continue
        if pending is not None:
            yield _whole(pending, pieces)
        pending, pieces = (event, [event.data.delta]) if isinstance(event, TextChunk) else (None, [])
        if pending is None:
            yield event
    if pending is not None:
        yield _whole(pending, pieces)


def _whole(first: TextChunk, pieces: Sequence[str]) -> TextChunk:
    data = first.data.model_copy(update={"delta": "".join(pieces), "raw": None})
    return first.model_copy(update={"data": data})


def _told(event: AnyEvent, streaming: dict[str, None]) -> Iterator[tuple[str, dict[str, Any]]]:
    about = {
        "job_id": event.job_id,
        "timestamp": datetime.fromtimestamp(event.time, UTC).isoformat(),
        "id": f"{event.session_id}-{event.seq}",
    }
    match event:
        case StreamStart():
            if event.job_id in streaming:
                yield "stream_end", {"status": Status.RUNNING, **about, "id": f"{about['id']}-0"}
            _note(event.job_id, streaming)
            yield "stream_start", {"metadata": event.data.metadata, "offset": event.data.offset, **about}
        case TextChunk():
            text = event.data.delta
            for start in range(0, len(text), _PIECE):
                id_ = about["id"] if start == 0 else f"{about['id']}-{start // _PIECE}"
                yield "text_chunk", {"chunk": text[start : start + _PIECE], **about, "id": id_}
        case StreamEnd():
            streaming.pop(event.job_id, None)
            yield "stream_end", {"status": event.data.status, **about}
        case Widget():
            shown = {"widget_type": event.data.widget_type, "data": event.data.data}
            # The agent's own id: a widget that is told again is the same one.
            yield "widget", {**shown, **about, "id": getattr(event.data, "id", about["id"])}


def _note(job_id: str, streaming: dict[str, None]) -> None:
    """It begins. Of one that another worker has taken over no end is told here: the oldest are forgotten."""
    streaming.pop(job_id, None)
    streaming[job_id] = None
    if len(streaming) > STREAMING:
        del streaming[next(iter(streaming))]


def _encoded(data: Mapping[str, Any]) -> str:
    encoded = orjson.dumps(data)
    if len(encoded) > LARGEST:
        small = {name: value for name, value in data.items() if name not in ("data", "metadata")}
        encoded = orjson.dumps({**small, "too_large": True})
    return encoded.decode()
