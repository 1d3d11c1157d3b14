"""A ledger on a real server, and short words for what tests do with it."""

from collections.abc import Sequence
from typing import Any

import orjson
import redis

from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import (
    Appended,
    Claimed,
    Command,
    Finished,
    NotClaimed,
    Operation,
    Released,
    Renewed,
    Swept,
    SyncLedger,
    operations,
)
from palaver.shared.ledger.replies import Stored, Submitted
from palaver.shared.settings import Settings
from tests.servers import RedisServer

LEASE = 30.0
EXPIRED = 0.001
"""A lease that has run out when the claim returns."""


class World:
    """One ledger; `raw` sees what it stores. Methods that take a job need what `submit` returned.

    Those of a worker's take an attempt that was claimed here: another World on the same server is another
    worker.
    """

    def __init__(self, server: RedisServer, **settings: Any) -> None:
        self.server = server
        self.settings = Settings(redis_url=server.url, **settings)
        self.ledger = SyncLedger(self.settings)
        self.keys = self.ledger.keys
        self.raw: redis.Redis = server.client()
        self._fences: dict[tuple[str, int], str] = {}

    def close(self) -> None:
        self.ledger.close()
        self.raw.close()

    def submit(self, session_id: str | None = "s1", messages: Any = "Hi", **fields: Any) -> Submitted:
        return self.ledger.submit(ChatJob(messages=messages, session_id=session_id, **fields))

    def try_claim(self, job: Submitted, *, by: str = "t1", lease: float = LEASE) -> Claimed | NotClaimed:
        reply = self.ledger.run(
            operations.claim(self.keys, job.session_id, job.job_id, token=by, worker="w1", lease=lease)
        )
        if isinstance(reply, Claimed):
            self._fences[job.job_id, reply.attempt] = reply.fence
        if lease == EXPIRED and isinstance(reply, Claimed):
            self.raw.hset(self.keys.job(job.session_id, job.job_id), "lease", 1)
        return reply

    def claim(self, job: Submitted, *, by: str = "t1", lease: float = LEASE) -> Claimed:
        claimed = self.try_claim(job, by=by, lease=lease)
        assert isinstance(claimed, Claimed), claimed
        return claimed

    def claim_of(self, job: Submitted, attempt: int) -> dict[str, Any]:
        """The first arguments of a worker's operations. What was never claimed here has some fence."""
        fence = self._fences.get((job.job_id, attempt), f"{attempt}:nobody")
        return {"keys": self.keys, "session_id": job.session_id, "job_id": job.job_id, "fence": fence}

    def append(self, job: Submitted, *texts: str, **options: Any) -> Appended:
        return self.ledger.run(self.appending(job, *texts, **options))

    def appending(
        self, job: Submitted, *texts: str, attempt: int = 1, first: int = 1, reset: bool = False
    ) -> Operation[Appended]:
        return operations.append(
            **self.claim_of(job, attempt),
            first=first,
            events=[chunk(text) for text in texts],
            text="".join(texts),
            reset=reset,
        )

    def be_due(self, job: Submitted) -> None:
        """The next sweep looks at the job."""
        self.raw.zadd(self.keys.due, {f"{job.session_id}/{job.job_id}": 1})

    def sweep(self, *empty_queues: str) -> Swept:
        """One sweep, whoever has the turn."""
        turn = self.ledger.sweep_turn(period=0)
        assert turn is not None
        return self.ledger.sweep(turn, empty_queues=empty_queues)

    def renew(self, job: Submitted, *, attempt: int = 1, lease: float = LEASE) -> Renewed:
        return self.ledger.run(operations.renew(**self.claim_of(job, attempt), lease=lease))

    def save_entry(
        self,
        job: Submitted,
        number: int,
        content: bytes = b"{}",
        *,
        attempt: int = 1,
        events: Sequence[bytes] = (),
    ) -> Stored:
        return self.ledger.run(
            operations.save_entry(
                **self.claim_of(job, attempt),
                number=number,
                content=content,
                events=events,
            )
        )

    def note_failures(self, job: Submitted, failures: int, *, attempt: int = 1, tries: bytes = b"") -> Stored:
        return self.ledger.run(
            operations.note_failures(
                **self.claim_of(job, attempt),
                failures=failures,
                tries=tries,
            )
        )

    def finish(
        self, job: Submitted, *, attempt: int = 1, status: Status = Status.COMPLETED, **options: Any
    ) -> Finished:
        return self.ledger.run(self.finishing(job, attempt=attempt, status=status, **options))

    def finishing(
        self, job: Submitted, *, attempt: int = 1, status: Status = Status.COMPLETED, **options: Any
    ) -> Operation[Finished]:
        end = b'"type":"stream_end","data":{"status":"%s"}' % status.value.encode()
        return operations.finish(
            **self.claim_of(job, attempt),
            status=status,
            end=end,
            retention=self.ledger.retention,
            **options,
        )

    def release(
        self, job: Submitted, *, attempt: int = 1, resume_at: float | None = None, delay: float = 0.0
    ) -> Released:
        return self.ledger.run(
            operations.release(
                **self.claim_of(job, attempt),
                resume_at=resume_at,
                delay=delay,
            )
        )

    def events(self, session_id: str = "s1") -> list[dict[str, Any]]:
        return [orjson.loads(event) for event in self.ledger.events(session_id)]

    def told(self, job: Submitted) -> list[str]:
        """The types of a job's events, in order."""
        return [event["type"] for event in self.events(job.session_id) if event["job_id"] == job.job_id]

    def positions(self, job: Submitted) -> list[int]:
        return [
            event["data"]["position"]
            for event in self.events(job.session_id)
            if event["job_id"] == job.job_id and event["type"] == "job_queued"
        ]

    def listener(self) -> Any:
        """A pub/sub connection of its own."""
        return self.raw.pubsub()  # type: ignore[no-untyped-call]

    def field(self, job: Submitted, name: str) -> bytes | None:
        return self.raw.hget(self.keys.job(job.session_id, job.job_id), name)  # type: ignore[return-value]

    def field_of_session(self, name: str, session_id: str = "s1") -> bytes | None:
        return self.raw.hget(self.keys.session(session_id), name)  # type: ignore[return-value]

    def seconds_to_live(self, key: str) -> float:
        return int(self.raw.pttl(key)) / 1000

    def due(self, job: Submitted) -> float | None:
        score: Any = self.raw.zscore(self.keys.due, f"{job.session_id}/{job.job_id}")
        return None if score is None else score / 1000

    def time(self) -> float:
        seconds, microseconds = self.raw.time()
        return float(seconds) + float(microseconds) / 1e6

    def dump(self, *, without: tuple[bytes, ...] = ()) -> dict[bytes, Any]:
        """Every key with its content, but for hash fields that move by themselves."""
        found: dict[bytes, Any] = {}
        for key in sorted(self.raw.scan_iter(count=1000)):
            kind: Any = self.raw.type(key)
            found[key] = self._content(key, kind, without)
        return found

    def _content(self, key: bytes, kind: bytes, without: tuple[bytes, ...]) -> Any:
        match kind:
            case b"hash":
                fields: Any = self.raw.hgetall(key)
                return {name: value for name, value in fields.items() if name not in without}
            case b"list":
                return self.raw.lrange(key, 0, -1)
            case b"zset":
                return set(self.raw.zrange(key, 0, -1))  # scores are hints
            case b"stream":
                return self.raw.xrange(key)
        return self.raw.get(key)


def chunk(text: str) -> bytes:
    """The inner JSON of a text_chunk."""
    return b'"type":"text_chunk","data":' + orjson.dumps({"delta": text})


def command(*words: str | bytes | int) -> Command:
    """A plain command."""
    return Command(*words)
