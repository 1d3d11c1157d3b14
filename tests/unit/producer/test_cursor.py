"""Whatever is dropped, doubled, trimmed or set back: every event comes once and in order, or a resync."""

from collections.abc import Iterable

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from palaver.producer.cursor import LogCursor, Look, Read, Snapshot, decode
from tests.servers import examples

JOBS = ("job-a", "job-b")
WRITE = st.tuples(st.sampled_from(JOBS), st.booleans())
"""An event of a job, or its end."""


class Session:
    """A session as the ledger keeps it: a dense log that may be trimmed, or set back by a failover."""

    def __init__(self) -> None:
        self.seq = 0
        self.log: list[bytes] = []
        self.text = dict.fromkeys(JOBS, "")
        self.ended: dict[str, int] = {}  # the seq of each job's end
        self.written = 0
        self._past: list[tuple[dict[str, str], dict[str, int]]] = [(dict(self.text), {})]

    def write(self, job: str, *, end: bool = False) -> bytes:
        self.seq += 1
        self.written += 1
        delta = f"<{self.written}>"
        body = {
            "seq": self.seq,
            "type": "stream_end" if end else "text_chunk",
            "job_id": job,
            "data": {"delta": delta},
        }
        self.text[job] += delta
        if end:
            self.ended[job] = self.seq
        self.log.append(orjson.dumps(body))
        self._past.append((dict(self.text), dict(self.ended)))
        return self.log[-1]

    @property
    def open(self) -> set[str]:
        return {job for job, text in self.text.items() if text} - self.ended.keys()

    def read(self, after: int) -> list[bytes]:
        return [raw for raw in self.log if decode(raw).seq > after][:3]

    def logs(self, seq: int) -> bool:
        return any(decode(raw).seq == seq for raw in self.log)

    def set_back(self, count: int) -> None:
        count = min(count, len(self.log))
        self.log = self.log[: len(self.log) - count]
        self.seq -= count
        del self._past[self.seq + 1 :]
        self.text, self.ended = dict(self._past[-1][0]), dict(self._past[-1][1])


class Consumer:
    """What somebody who only sees events and resyncs knows."""

    def __init__(self) -> None:
        self.seq = 0
        self.text = dict.fromkeys(JOBS, "")

    def take(self, raw: bytes) -> None:
        entry = decode(raw)
        assert entry.seq == self.seq + 1, "an event was skipped or repeated"
        self.seq = entry.seq
        self.text[entry.job_id] += entry.fields["data"]["delta"]

    def resync(self, session: Session, known: Iterable[str], after: int) -> None:
        """It is told of the jobs that it knows, those that have not ended, and those that ended later."""
        past = {job for job, end in session.ended.items() if end <= after} - set(known)
        self.text |= {job: text for job, text in session.text.items() if job not in past}
        self.seq = session.seq


class Reading(RuleBasedStateMachine):
    """Publishers, a lossy channel, a trimming log and one reader, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.session, self.consumer, self.cursor = Session(), Consumer(), LogCursor()
        self.channel: list[bytes] = []
        self.connected = False
        self.may_lose = False
        self.set_back = False
        self.blurred = False  # the traces of a failover were trimmed before the reader came back

    @rule(job=st.sampled_from(JOBS), end=st.booleans())
    def publish(self, job: str, end: bool) -> None:
        if job not in self.session.ended:
            raw = self.session.write(job, end=end)
            if self.connected:
                self.channel.append(raw)

    @rule(count=st.integers(1, 4))
    def deliver(self, count: int) -> None:
        batch, self.channel = self.channel[:count], self.channel[count:]
        self.cursor.live(batch)

    @precondition(lambda self: self.channel)
    @rule(at=st.integers(0, 50))
    def drop(self, at: int) -> None:
        del self.channel[at % len(self.channel)]

    @precondition(lambda self: self.channel)
    @rule(at=st.integers(0, 50))
    def double(self, at: int) -> None:
        self.channel.append(self.channel[at % len(self.channel)])

    @rule()
    def noise(self) -> None:
        self.cursor.live([b"not an event", b"[]", b'{"seq":"x"}'[:5]])

    @rule()
    def overrun(self) -> None:
        self.channel.clear()
        self.cursor.overrun()

    @rule()
    def reconnect(self) -> None:
        self.channel.clear()
        self.connected = True
        self.cursor.confirmed()

    @rule()
    def silence(self) -> None:
        self.cursor.silence()

    @rule(keep=st.integers(1, 6))
    def trim(self, keep: int) -> None:
        self.may_lose |= len(self.session.log) > keep
        self.session.log = self.session.log[-keep:]

    @rule(count=st.integers(1, 5), again=st.lists(WRITE, max_size=5))
    def failover(self, count: int, again: list[tuple[str, bool]]) -> None:
        """The last writes are gone and others take their place; every connection broke."""
        self.may_lose = self.set_back = True
        self.session.set_back(count)
        for job, end in again:
            self.publish(job, end)
        self.reconnect()

    @rule()
    def step(self) -> None:
        match self.cursor.need:
            case Read(after, compare):
                visible = self.session.seq < self.cursor.seq or self.session.logs(self.cursor.seq)
                self.cursor.page(self.session.read(after), self.session.seq if compare else None)
                self.blurred |= self.set_back and not visible and isinstance(self.cursor.need, Snapshot)
            case Look(jobs):
                self.cursor.looked([job for job in jobs if job in self.session.ended])
            case Snapshot(known, after):
                assert self.may_lose, "a resync although the log held everything"
                self._drain()
                self.set_back = False
                self.consumer.resync(self.session, known, after)
                self.cursor.resumed(self.session.seq, self.session.open)
                self.step()  # reads the entry at the new cursor, before a failover can replace it

    def _drain(self) -> None:
        for entry in self.cursor.take():
            self.consumer.take(entry.raw)

    @invariant()
    def events_come_once_and_in_order(self) -> None:
        self._drain()
        assert self.cursor.seq == self.consumer.seq

    def teardown(self) -> None:
        """When everything has calmed down, the consumer knows what the session holds."""
        if not self.connected:
            self.reconnect()
        for _ in range(200):
            self.silence()
            while self.cursor.need is not None:
                self.step()
                self._drain()
            if self.consumer.seq == self.session.seq:
                break
        assert self.consumer.seq == self.session.seq
        assert self.blurred or self.consumer.text == self.session.text
        assert (
            set(self.cursor.open_jobs)
            == {job for job, text in self.session.text.items() if text} - self.session.ended.keys()
        )


Reading.TestCase.settings = settings(max_examples=examples(300), stateful_step_count=40, deadline=None)
TestReading = Reading.TestCase


def run(cursor: LogCursor, session: Session, *, ended: frozenset[str] = frozenset()) -> list[int]:
    """Serve a cursor from a session until it wants nothing; the seqs that it handed out."""
    seqs: list[int] = []
    while cursor.need is not None:
        match cursor.need:
            case Read(after, compare):
                cursor.page(session.read(after), session.seq if compare else None)
            case Look(jobs):
                cursor.looked([job for job in jobs if job in session.ended or job in ended])
            case Snapshot():
                pytest.fail("nothing was trimmed")
        seqs += [entry.seq for entry in cursor.take()]
    return seqs


def two_jobs() -> Session:
    session = Session()
    for job in ("job-a", "job-b", "job-a", "job-b"):
        session.write(job)
    session.write("job-a", end=True)
    session.write("job-b")
    return session


def test_a_job_reader_gets_its_job_alone_and_ends_after_its_end() -> None:
    cursor = LogCursor(job_id="job-a")
    cursor.confirmed()
    assert run(cursor, two_jobs()) == [1, 3, 5]
    assert cursor.done


def test_a_reader_that_comes_after_the_end_does_not_hang() -> None:
    cursor = LogCursor(5, job_id="job-a")
    cursor.confirmed()
    assert run(cursor, two_jobs()) == []
    assert cursor.done


def test_an_end_written_between_the_page_and_the_look_is_still_delivered() -> None:
    session = Session()
    session.write("job-a")
    cursor = LogCursor(job_id="job-a")
    cursor.confirmed()
    cursor.page(session.read(0), session.seq)
    assert cursor.need == Look(("job-a",))
    session.write("job-a", end=True)
    cursor.looked(["job-a"])
    assert run(cursor, session) == [1, 2]
    assert cursor.done


def test_a_log_that_is_gone_needs_a_snapshot() -> None:
    session = two_jobs()
    session.log.clear()
    cursor = LogCursor(job_id="job-a")
    cursor.confirmed()
    cursor.page([], session.seq)
    assert cursor.need == Snapshot(("job-a",), after=0)
    cursor.resumed(session.seq, [])
    assert cursor.done
    assert cursor.need is None


def test_an_unended_job_goes_on_after_its_snapshot() -> None:
    session = two_jobs()
    session.log = session.log[-1:]
    cursor = LogCursor(job_id="job-b")
    cursor.confirmed()
    cursor.page(session.read(0), session.seq)
    assert cursor.need == Snapshot(("job-b",), after=0)
    cursor.resumed(session.seq, ["job-b"])
    session.write("job-b", end=True)
    assert run(cursor, session) == [7]
    assert cursor.done


def test_a_session_that_was_set_back_below_the_cursor_is_read_from_its_beginning() -> None:
    session = two_jobs()
    cursor = LogCursor(after=7)
    cursor.confirmed()
    cursor.page(session.read(6), session.seq)
    assert cursor.need == Snapshot((), after=0)


def test_another_event_at_the_cursor_shows_another_past_even_without_a_reconnect() -> None:
    session = Session()
    session.write("job-a")
    cursor = LogCursor()
    cursor.confirmed()
    run(cursor, session)
    session.set_back(1)
    cursor.live([session.write("job-b"), session.write("job-b")])
    assert cursor.take() == []
    cursor.page(session.read(0), session.seq)
    assert cursor.need == Snapshot(("job-a",), after=0)


def test_a_job_that_vanished_needs_a_snapshot_of_what_came_after_the_cursor() -> None:
    session = two_jobs()
    cursor = LogCursor()
    cursor.confirmed()
    cursor.page(session.read(0))
    cursor.page(session.read(3), session.seq)
    need = cursor.need
    assert need == Look(("job-b",))
    cursor.vanished()
    assert cursor.need == Snapshot(("job-b",), after=6)
    cursor.resumed(session.seq, [])
    assert cursor.open_jobs == ()


def test_live_messages_alone_need_no_reading() -> None:
    session = Session()
    cursor = LogCursor()
    cursor.confirmed()
    assert run(cursor, session) == []
    cursor.live([session.write("job-a") for _ in range(4)])
    assert cursor.need is None
    assert [entry.seq for entry in cursor.take()] == [1, 2, 3, 4]


def test_what_is_no_event_is_refused_in_the_log() -> None:
    with pytest.raises(ValueError, match="without seq"):
        decode(b"{}")


def test_a_job_stays_open_until_its_end_is_read() -> None:
    state = Reading()
    state.publish(job="job-a", end=False)
    state.overrun()
    state.step()
    assert isinstance(state.cursor.need, Look)
    state.publish(job="job-a", end=True)
    state.step()
    state.failover(count=1, again=[])  # before the reader comes to read the end that it was told of
    state.teardown()
