"""Writes events of many sessions as fast as Redis takes them, as busy workers would: several to an append.

    python -m tests.benchmarks.feeder REDIS_URL SESSIONS EVENTS

Prints "begun" when every session has a subscriber and it begins, and the seconds that it took ("fed in").
"""

from __future__ import annotations

import asyncio
import sys
import time
from urllib.parse import urlsplit

import hiredis

from palaver.shared.ledger import load
from palaver.shared.settings import Settings
from tests.benchmarks.floor import jobs

AT_ONCE = 5  # events of one append
AHEAD = 200  # appends that are written before their replies are awaited


class Line:
    """A raw connection: commands out, as many replies in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.parser = reader, writer, hiredis.Reader()

    async def send(self, *commands: bytes) -> list[object]:
        self.writer.write(b"".join(commands))
        replies: list[object] = []
        while len(replies) < len(commands):
            self.parser.feed(await self.reader.read(1 << 16))
            while (reply := self.parser.gets()) is not False:
                assert not isinstance(reply, hiredis.ReplyError), reply
                replies.append(reply)
        return replies


def packed(*words: str | bytes | int) -> bytes:
    command: bytes = hiredis.pack_command(words)  # type: ignore[arg-type] # its stub knows one word only
    return command


def append(session_id: str, job_id: str, base: str, fence: str, first: int, count: int) -> bytes:
    """The append of `count` events from the producer sequence `first` on."""
    words = [f" w{number}" for number in range(first, first + count)]
    events = [f'"type":"text_chunk","data":{{"delta":"{word}"}}' for word in words]
    place = (base, session_id, job_id, fence, 10_000, first, 0)
    return packed("EVALSHA", load("append").sha, 1, *place, "".join(words), "", *events)


async def main(redis_url: str, sessions: int, events: int) -> None:
    names = await jobs(Settings(redis_url=redis_url), sessions)
    address = urlsplit(redis_url)
    line = Line(*await asyncio.open_connection(address.hostname, address.port))
    await line.send(packed("SCRIPT", "LOAD", load("append").source))
    commands = [
        append(*name, first, min(AT_ONCE, events + 1 - first))
        for first in range(1, events + 1, AT_ONCE)
        for name in names
    ]
    print("ready", flush=True)
    count = packed("PUBSUB", "NUMSUB", *(base for _, _, base, _ in names))
    while (await line.send(count))[0][1::2] != [1] * sessions:  # type: ignore[index] # noqa: ASYNC110
        await asyncio.sleep(0.1)  # Redis tells of subscribers only who asks
    print("begun", flush=True)
    began = time.monotonic()
    for start in range(0, len(commands), AHEAD):
        for reply in await line.send(*commands[start : start + AHEAD]):
            assert reply[0] == b"ok", reply  # type: ignore[index]
    print(f"fed in {time.monotonic() - began}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
