"""What must hold of a ledger at any moment: in its keys, and in what its log has said so far."""

import math
from dataclasses import dataclass, field
from typing import Any

import orjson

from palaver.shared.ledger import operations
from palaver.shared.ledger.keys import due_member
from palaver.shared.ledger.operations.dead import DEAD
from palaver.shared.names import QUEUES
from tests.faults.ledger_calls import KEYS
from tests.faults.ledger_model import LONGEST, Model
from tests.faults.ledger_model_state import Job, Session
from tests.faults.ledger_servers import Server, State

_TOLD = 20  # so many jobs of a line are told their place
_RUN = (b"queued", b"running")


@dataclass
class Told:
    """What a reader of the log knows of a job."""

    first: int  # the seq of its first event
    end: int | None = None  # the seq of its stream_end
    position: int = 0
    text: str = ""
    reasoning: str = ""


@dataclass
class Watch:
    """Reads the server after each call; compares it with the model, its own past, and its log."""

    server: Server
    state: State = field(init=False)
    told: dict[str, Told] = field(default_factory=dict)
    seq: dict[str, int] = field(default_factory=dict)
    ends: dict[str, dict[str, int]] = field(default_factory=dict)  # each stream_end that a session ever had
    known: dict[str, int] = field(default_factory=dict)  # events of the model's log that were compared
    set_back: int = (
        0  # by so much was the clock, in all: what waits for a time comes later, until a sweep sees it
    )
    outlived: set[str] = field(default_factory=set)  # jobs whose time was over, and which may be gone
    loose: set[str] = field(default_factory=set)  # entries of `due` and `dead` that a call left as they were

    def __post_init__(self) -> None:
        self.state = self.server.state()

    def look(self, model: Model) -> None:
        """Take in what happened, and check it."""
        before, self.state = self.state, self.server.state()
        for session in model.sessions.values():
            self._read(session)
            self._check_session(session)
            self._check_list(session, model)
        for job in model.jobs.values():
            self._check_job(job, before)
        self._check_keys(model)

    def forget(self, job: Job) -> None:
        """The job's keys are gone."""
        self.told.pop(job.job_id, None)
        self.loose.add(due_member(job.session.session_id, job.job_id))

    def is_indexed(self, job: Job) -> bool:
        """Whether it is found by its id alone. After a late end that may take a sweep."""
        return bool(self.state.content.get(KEYS.index(job.job_id)) == job.session.session_id.encode())

    # The log

    def _read(self, session: Session) -> None:
        """Every new event has the next seq, and is what the model says, in its order."""
        sid = session.session_id
        _, last = self.state.content.get(KEYS.events(sid), (0, b"0-0"))
        seen = self.seq.get(sid, 0)
        if int(last.partition(b"-")[0]) > seen:
            query = operations.events(KEYS, sid, after=seen)
            replies = self.server.send([command.words for command in query.commands])
            for raw in query.decode(replies):
                seen += 1
                self._take(session, orjson.loads(raw), seen)
            self.seq[sid] = seen
        assert int(self._hash(KEYS.session(sid)).get(b"seq", 0)) == seen, (
            "the session's seq is that of its log"
        )
        assert self.known.get(sid, 0) == len(session.log), (
            f"not logged: {session.log[self.known.get(sid, 0) :]}"
        )

    def _take(self, session: Session, event: dict[str, Any], seq: int) -> None:
        assert event["seq"] == seq, f"seq {event['seq']} where {seq} is due"
        assert event["session_id"] == session.session_id
        if event["job_id"] not in self.told:
            # Lost and submitted again, it has another end, or, lost once more before that, none.
            self.ends.get(session.session_id, {}).pop(event["job_id"], None)
        told = self.told.setdefault(event["job_id"], Told(seq))
        assert told.end is None, f"{event} after the job's stream_end"
        data = event["data"]
        match event["type"]:
            case "job_queued":
                told.position = data["position"]
                return
            case "stream_start":
                assert data["offset"] in (0, len(told.text)), event
                if data["offset"] == 0:
                    told.text = told.reasoning = ""
            case "text_chunk":
                told.text += data["delta"]
            case "reasoning_chunk":
                told.reasoning += data["delta"]
            case "stream_end":
                told.end = seq
                self.ends.setdefault(session.session_id, {})[event["job_id"]] = seq
        self._compare_event(session, event)

    def _compare_event(self, session: Session, event: dict[str, Any]) -> None:
        number = self.known.get(session.session_id, 0)
        expected = session.log[number] if number < len(session.log) else None
        self.known[session.session_id] = number + 1
        actual = {name: event[name] for name in ("job_id", "attempt", "type", "data")}
        if expected is not None and "error" not in expected["data"]:
            actual["data"] = {name: value for name, value in event["data"].items() if name != "error"}
        assert actual == expected, f"logged {actual}, the model says {expected}"

    # Sessions

    def _check_session(self, session: Session) -> None:
        content, sid = self.state.content, session.session_id
        about = self._hash(KEYS.session(sid))
        assert about.get(b"active", b"").decode() == (session.active or ""), "another job has the turn"
        line = [job_id.decode() for job_id in content.get(KEYS.waiting(sid), [])]
        assert line == session.line, "another line"
        history = [orjson.loads(message) for message in content.get(KEYS.messages(sid), [])]
        assert history == session.messages, "another history"
        for place, job_id in enumerate(line[:_TOLD], 1):
            job = self._hash(KEYS.job(sid, job_id))
            if job.get(b"status") == b"queued":
                assert self.told[job_id].position == place, f"{job_id} was told another place"

    def _check_list(self, session: Session, model: Model) -> None:
        """A reader whose log is gone can name every job, or knows up to where it cannot."""
        sid = session.session_id
        key = KEYS.jobs(sid)
        listed, forgotten = self._hash(key), int(self._hash(KEYS.session(sid)).get(b"forgotten", 0))
        for job in model.jobs.values():
            if job.session is session:
                end = self.told[job.job_id].end or math.inf
                assert listed[job.job_id.encode()] == end, f"{job.job_id} is not listed where it ends"
                job_key = KEYS.job(sid, job.job_id)
                if self.server.expires:
                    assert self.state.ttl[key] >= self.state.ttl[job_key], "the list goes before its job"
        for job_id, end in self.ends.get(sid, {}).items():
            known = job_id.encode() in listed or end <= forgotten
            assert known or not listed, f"{job_id} fell off in silence"

    def _check_job(self, job: Job, before: State) -> None:
        sid, job_id = job.session.session_id, job.job_id
        key = KEYS.job(sid, job_id)
        fields, told = self._hash(key), self.told[job_id]
        assert fields, f"{job_id} has vanished"
        if not (self.server.expires and due_member(sid, job_id) in self.loose):
            assert self.is_indexed(job), "nobody can find it by its id"
        assert fields[b"status"].decode() == job.status
        assert _attempt(fields) == job.attempt
        assert (told.end is not None) == job.status.ended, "one stream_end, when it ends"
        assert (told.text, told.reasoning) == (job.text, job.reasoning), "the events say another text"
        if job.status.ended:
            self._check_ended(job, fields)
        else:
            self._check_unended(job, fields)
        was = before.content.get(key)
        if was and job_id in self.told:
            assert _rank(was[b"status"]) <= _rank(fields[b"status"]), "status went back"
            assert _attempt(was) <= _attempt(fields), "attempt went back"

    def _check_ended(self, job: Job, fields: dict[bytes, bytes]) -> None:
        key = KEYS.job(job.session.session_id, job.job_id)
        kept = {b"holder", b"token", b"lease", b"pseq", b"cancel", b"journal", b"user"} & fields.keys()
        assert not kept, "an ended job keeps what only a running one needs"
        assert not {f"{key}:text", f"{key}:reasoning"} & self.state.content.keys()
        assert int(fields[b"done"].split()[3]) == self.told[job.job_id].end
        if not job.answered:
            parts = [fields.get(name, b"").decode() for name in (b"text", b"reasoning")]
            assert parts == [job.text, job.reasoning], "another text is kept"

    def _check_unended(self, job: Job, fields: dict[bytes, bytes]) -> None:
        sid = job.session.session_id
        key = KEYS.job(sid, job.job_id)
        parts = [self.state.content.get(f"{key}:{name}", b"").decode() for name in ("text", "reasoning")]
        assert parts == [job.text, job.reasoning], "another text is stored"
        assert (b"holder" in fields) == (job.token is not None)
        if job.token is not None:
            assert int(fields[b"lease"]) == job.lease
        assert fields.get(b"cancel", b"").decode() == job.cancel
        self._check_watched(job)
        if self.server.expires:
            left = job.deadline - self.server.now
            for name in (key, KEYS.events(sid), KEYS.session(sid)):
                assert self.state.ttl[name] >= left, f"{name} goes before the job's deadline"

    def _check_watched(self, job: Job) -> None:
        """Somebody looks for a lost message in time: soon, or when its queue has passed it."""
        member = due_member(job.session.session_id, job.job_id).encode()
        score = self._hash(KEYS.due).get(member)
        assert score is not None, "nobody watches the job"
        soon = self.server.now + LONGEST + self.set_back
        if job.token is None and job.sent is not None and score > soon:
            enlisted = any(member in self._hash(KEYS.sent(queue)) for queue in QUEUES)
            assert enlisted, "nobody looks for its message"

    # Keys

    def _check_keys(self, model: Model) -> None:
        immortal = [key for key, left in self.state.ttl.items() if left < 0]
        assert not immortal, f"without a time to live: {immortal}"
        members = {due_member(job.session.session_id, job.job_id) for job in model.jobs.values()}
        hashes = {KEYS.job(job.session.session_id, job.job_id) for job in model.jobs.values()}
        for key, content in self.state.content.items():
            if ":job:" in key and isinstance(content, dict):
                assert key in hashes, "a job that the model does not know"
                self._check_turn(key, content)
        for entry in self._hash(KEYS.due):
            member = entry.decode()
            if member in members and member not in self.loose:
                job = model.jobs[member.partition("/")[2]]
                assert not job.status.ended or job.displaced, "an ended job is still watched"
        self._check_dead_letters(model)

    def _check_dead_letters(self, model: Model) -> None:
        entries = {entry.decode() for entry, score in self._hash(KEYS.dead).items() if score > 0}
        for job in model.jobs.values():
            member = due_member(job.session.session_id, job.job_id)
            if job.status.ended and job.vanishes < model.now:
                self.outlived.add(member)
            if job.dropped:
                # known as long as the job: a clock that is set back does not bring that again
                assert member not in entries or member in self.outlived, "a letter that was dropped is back"
            if job.dropped or member in self.loose:
                continue
            if job.status not in DEAD:
                assert member not in entries, f"a dead letter of a job that is {job.status}"
            elif job.document and job.vanishes > model.now:
                assert member in entries, f"no dead letter of a job that {job.status}"

    def _check_turn(self, key: str, job: dict[bytes, bytes]) -> None:
        """A job is running with its session's turn, or in its line, once; or it needs neither."""
        base, _, job_id = key.rpartition(":job:")
        active = self._hash(f"{base}:session").get(b"active", b"").decode() == job_id
        in_line = self.state.content.get(f"{base}:waiting", []).count(job_id.encode())
        if job[b"status"] not in _RUN or job.get(b"mode") == b"parallel" or b"parked" in job:
            assert not in_line
            assert not active or job[b"status"] in _RUN, "a dead job has the turn"
        else:
            assert active + in_line == 1, "neither the turn nor a place in the line, or both"
            assert active or job[b"status"] == b"queued", "it runs without the turn"

    def _hash(self, key: str) -> dict[bytes, Any]:
        found: dict[bytes, Any] = self.state.content.get(key, {})
        return found


def _attempt(fields: dict[bytes, bytes]) -> int:
    by = fields[b"done"].split()[4] if b"done" in fields else fields.get(b"attempt", b"0")
    return int(by.partition(b":")[0])


def _rank(status: bytes) -> int:
    return _RUN.index(status) if status in _RUN else 2
