"""A ledger that is only the rules of `append`, behind a connection that a test can hold up or cut."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import hiredis
import orjson

from palaver.shared.ledger import Claimed

FIRST, RESET, TEXT, REASONING, EVENTS = 8, 9, 10, 11, 12  # places in an EVALSHA of append


@dataclass
class Job:
    """What the ledger has of one job."""

    taken: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""
    reasoning: str = ""
    refusal: list[Any] | None = None  # the reply to every append from now on
    cancel: bytes = b""

    def append(self, words: list[bytes]) -> list[Any]:
        if self.refusal is not None:
            return self.refusal
        first, events = int(words[FIRST]), words[EVENTS:]
        if first + len(events) - 1 <= self.taken:
            return [b"ok", self.cancel, self.taken]
        if first != self.taken + 1:
            return [b"gap", self.taken]
        self.events += [orjson.loads(b"{%b}" % event) for event in events]
        if words[RESET] == b"1":
            self.text = self.reasoning = ""
        self.text += words[TEXT].decode()
        self.reasoning += words[REASONING].decode()
        self.taken = first + len(events) - 1
        return [b"ok", self.cancel, self.taken]


@dataclass
class Connection:
    """A `Sender`. Frames wait until the test lets them arrive; a cut one is sent again, as the link does."""

    jobs: dict[str, Job] = field(default_factory=dict)
    frames: list[tuple[bytes, int, Callable[[list[Any]], None]]] = field(default_factory=list)
    published: list[tuple[str, str]] = field(default_factory=list)

    def send(self, data: bytes, expects: int, done: Callable[[list[Any]], None]) -> None:
        self.frames.append((data, expects, done))

    def arrive(self, commands: int | None = None) -> list[Any]:
        """Let the oldest frame arrive, or only its first commands."""
        data, expects, _ = self.frames[0]
        reader = hiredis.Reader()
        reader.feed(data)
        sent = list(iter(reader.gets, False))
        assert len(sent) == expects
        return [self._answer(words) for words in sent[:commands]]

    def _answer(self, words: list[bytes]) -> Any:
        if words[0] == b"PUBLISH":
            self.published.append((words[1].decode(), words[2].decode()))
            return 1
        return self.jobs[words[5].decode()].append(words)

    def reply(self) -> None:
        """The oldest frame arrives and is answered."""
        replies = self.arrive()
        _, _, done = self.frames.pop(0)
        done(replies)

    def cut(self, commands: int) -> None:
        """The connection breaks after so many commands and before any reply: the frame stays to be sent."""
        self.arrive(commands)

    def stop(self) -> None:
        _, _, done = self.frames.pop(0)
        done([])


def claimed(job_id: str, *, text: str = "", reasoning: str = "") -> Claimed:
    return Claimed(
        session_id=f"session-{job_id}",
        job_id=job_id,
        attempt=1,
        fence="1:t1",
        job=b"",
        text=text,
        reasoning=reasoning,
        journal=[],
        history=[],
        failures=0,
        tries=b"",
        cancelled="",
        deadline=60.0,
    )
