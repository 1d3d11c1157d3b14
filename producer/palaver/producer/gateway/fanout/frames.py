"""Events as server-sent events, encoded once for all readers; pure.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from typing import Final

import orjson

from palaver.producer.cursor import Entry

HELLO: Final = b"retry: 1000\n: follow\n\n"
"""What a stream begins with: the headers arrive with it, and how soon to come back after a cut."""


def encode(entry: Entry) -> bytes:
    """`id` is the seq, the cursor to come back with; `data` the event's JSON, as it stands in the log."""
    raw = entry.raw if b"\n" not in entry.raw else orjson.dumps(entry.fields)
    return b"id: %d\ndata: %s\n\n" % (entry.seq, raw)


def parse_cursor(text: str | None) -> int | None:
    """The seq that a `Last-Event-ID` means; None for what no stream of ours has said."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
        return None
    return int(text)
