"""A reader that knows Redis and the contract, and nothing of Palaver's code."""

import json
import time
from typing import Any

import redis

Event = dict[str, Any]


def follow(client: redis.Redis, session_id: str, jobs: int = 1, *, seconds: float = 30) -> list[Event]:
    """The events of a session until `jobs` jobs have ended: subscribe, read the log, listen."""
    channel = f"palaver:{{{session_id}}}"
    seen: list[Event] = []
    end = time.monotonic() + seconds
    inbox: Any = client.pubsub()  # type: ignore[no-untyped-call]
    with inbox:
        inbox.subscribe(channel)
        while sum(event["type"] == "stream_end" for event in seen) < jobs:
            message = inbox.get_message(timeout=1)
            if message is None or message["type"] != "message":
                fresh = _log(client, channel, seen)
            else:
                event = json.loads(message["data"])
                fresh = [event] if event["seq"] == len(seen) + 1 else _log(client, channel, seen)
            seen += fresh
            assert time.monotonic() < end, f"no end of {session_id} in {seconds} s: {seen[-3:]}"
    return seen


def _log(client: redis.Redis, channel: str, seen: list[Event]) -> list[Event]:
    after = f"({seen[-1]['seq']}-0" if seen else "-"
    entries: Any = client.xrange(f"{channel}:events", min=after)
    return [json.loads(fields[b"e"]) for _, fields in entries]


def text_of(events: list[Event]) -> str:
    """The rule of the contract: stream_start cuts the text to its offset, text_chunk appends."""
    text = ""
    for event in events:
        if event["type"] == "stream_start":
            text = text[: event["data"].get("offset", 0)]
        elif event["type"] == "text_chunk":
            text += event["data"]["delta"]
    return text
