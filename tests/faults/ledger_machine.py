"""The machine: clients, workers, zombies and sweepers call one ledger at random, and the model too."""

import math
from collections import Counter
from dataclasses import astuple, dataclass, replace
from typing import Any, ClassVar

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from palaver.shared.errors import PalaverError, SequenceGapError
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import (
    Appended,
    Claimed,
    Finished,
    NotClaimed,
    Refused,
    Stored,
    Submitted,
    exchange,
    operations,
)
from palaver.shared.ledger.keys import due_member
from palaver.shared.ledger.operations import dead
from palaver.shared.ledger.replies import Looked, Passed
from tests.faults import ledger_calls as calls
from tests.faults.ledger_calls import KEYS, RETENTION, Call, Place
from tests.faults.ledger_model import RESUME, UNKNOWN, Model
from tests.faults.ledger_model_state import Job
from tests.faults.ledger_servers import EPOCH, Lost, Server, run
from tests.faults.ledger_sweeps import ALL_QUEUES, GRACE, Sweeps
from tests.faults.ledger_watch import Watch

WORKERS = ("w0", "w1")
WORDS = (" w", "", ' "', "\\\n", " é", "😀", "\x00")
PAUSES = (300, 1_100, 2_900, 2_900, 4_100, 4_100, 6_000, 6_000, 61_000, 700_000, 1_900_000)
STEPS_BACK = (-5, -700, -4_100, -30_000, -300_000)

PICK = st.integers(0, 9)
HOLDER = st.tuples(st.sampled_from((True, True, False)), PICK)
FATE = st.sampled_from(("", "", "", "", "again", "lost", "lost again", "unsent"))
"""A call is made, or made twice, or its reply is lost, or its caller dies before it."""


@dataclass
class Holding:
    """What a worker knows of a claim, which may have been lost to another one."""

    place: Place
    fence: str
    sent: int = 0  # events that the ledger confirmed
    entries: int = 0


class LedgerMachine(RuleBasedStateMachine):
    """One run. `server` is set by the test."""

    server: ClassVar[Server]
    counts: ClassVar[Counter[tuple[str, str]]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.server.reset()
        self.model = Model(EPOCH, retention=round(RETENTION.job * 1000))
        self.watch = Watch(self.server)
        self.calls: list[Call] = []
        self.places: list[Place] = []
        self.documents: dict[str, ChatJob] = {}
        self.submitted: dict[str, tuple[int, int]] = {}  # cursor and position
        self.holdings: list[Holding] = []
        self.claims = 0
        self.sweeps = Sweeps(self.server, self.model, self.watch)
        self.failed = False

    # Making calls

    def do(self, call: Call, fate: str = "") -> Any:
        """Make a call and hold everything against the model; the reply, if the caller got one."""
        self.failed = True
        self._loosen(call, fate)
        reply = self._do(call, fate)
        self.calls.append(call)
        self.failed = False
        return reply

    def _do(self, call: Call, fate: str) -> Any:
        conversation = call.begin()
        if fate == "unsent":
            run(self.server, conversation, cut="before")
            self.watch.look(self.model)
            return Lost()
        before, cursor = self.watch.state, self.watch.seq.get(call.place.session_id, 0)
        expected = call.expect(self.model)
        reply = run(self.server, conversation, cut="after" if fate.startswith("lost") else "")
        self.watch.look(self.model)
        expected = self._filled(expected, cursor)
        if not isinstance(reply, Lost):
            self._compare(call, expected, reply)
        if isinstance(expected, PalaverError | NotClaimed):
            submitted = call.place.job_id if call.name == "submit" else ""
            self._unchanged(before, submitted=submitted, lost=isinstance(reply, Lost))
        if fate.endswith("again"):
            between = self.watch.state
            reply = run(self.server, call.begin())
            self.watch.look(self.model)
            self._compare(call, expected, reply)
            self._unchanged(between, lost=fate == "lost again")
        return reply

    def _loosen(self, call: Call, fate: str) -> None:
        """Entries of `due` that are left for a sweeper: they are hints."""
        if fate.startswith(("lost", "unsent")) or call.name == "look" or call in self.calls:
            self.watch.loose.add(due_member(call.place.session_id, call.place.job_id))

    def _filled(self, expected: Any, cursor: int) -> Any:
        """With what only the log knows. Of a submit that is the first reply for ever."""
        if not isinstance(expected, Submitted):
            return expected
        told = self.watch.told[expected.job_id]
        cursor, position = self.submitted.setdefault(expected.job_id, (cursor, told.position))
        assert cursor < told.first
        return replace(expected, cursor=cursor, position=position)

    def _compare(self, call: Call, expected: Any, reply: Any) -> None:
        told = self.watch.told.get(call.place.job_id)
        self.counts[call.name, _word(reply)] += 1
        if isinstance(expected, Finished) and told:
            expected = replace(expected, seq=told.end or 0)
        elif isinstance(expected, Refused) and expected.cursor == UNKNOWN and told:
            expected = replace(expected, cursor=told.first - 1)
        if isinstance(reply, Claimed):
            assert orjson.loads(reply.job)["job_id"] == call.place.job_id
            history = [orjson.loads(message) for message in reply.history]
            # how long its message waited is a figure for metrics
            reply = replace(reply, job=b"", history=history, waited=None)
        elif isinstance(reply, Looked):
            reply = replace(reply, next_look=UNKNOWN)
        assert type(reply) is type(expected), f"{call}: {reply!r}, the model says {expected!r}"
        if isinstance(expected, SequenceGapError):
            assert reply.last_taken == expected.last_taken
        elif not isinstance(expected, PalaverError):
            assert reply == expected, f"{call}: {reply}, the model says {expected}"

    def _unchanged(self, before: Any, *, submitted: str = "", lost: bool) -> None:
        """No key is touched. Only what goes before a submit may be seen, an index and an entry of `due`, and
        that a job that vanished has left its session's list when it comes again.
        """

        def shown(state: Any) -> dict[str, Any]:
            values = {key: _without(value, submitted) for key, value in state.content.items()}
            return {
                key: (value, state.ttl[key] if self.server.expires else 0)
                for key, value in values.items()
                if value and ("{" in key or not (submitted or lost))
            }

        assert shown(self.watch.state) == shown(before), "a call that must change nothing has written"

    def _pause(self, milliseconds: int) -> None:
        self.server.advance(milliseconds)
        self.model.now += milliseconds
        gone = [job for job in self.model.jobs.values() if job.vanishes < self.model.now]
        if self.server.expires:
            for job in gone:
                self._forget(job)
            self.model.lose_lines()

    def _forget(self, job: Job) -> None:
        self.model.lose(job.job_id)
        self.watch.forget(job)
        self.submitted.pop(job.job_id, None)

    def _place(self, pick: int) -> Place:
        """A job; the newest ones first."""
        return self.places[-1 - pick % len(self.places)]

    def _holding(self, fresh: bool, pick: int) -> Holding:
        """A claim: one that has not been lost, if there is one and it is asked for, or any."""
        live = [holding for holding in self.holdings if fresh and self._is_live(holding)]
        return (live or self.holdings)[-1 - pick % len(live or self.holdings)]

    def _is_live(self, holding: Holding) -> bool:
        job = self.model.jobs.get(holding.place.job_id)
        return job is not None and job.token is not None and job.fence == holding.fence

    def _found(self) -> list[ChatJob]:
        """The documents of the jobs that are found by their ids."""
        return [
            job.document for job in self.model.jobs.values() if job.document and self.watch.is_indexed(job)
        ]

    # Clients

    @initialize(history=st.booleans(), claimed=st.booleans())
    def begin(self, history: bool, claimed: bool) -> None:
        """Every run has a job, and half of them a worker at work on it."""
        self.submit("s1", "enqueue", None, "a", history, 0, 600, "")
        if claimed:
            self.claim(0, True, "w0", True, "")

    @rule(
        session=st.sampled_from(("s1", "s1", "s1", "s2", None)),
        on_busy=st.sampled_from(("enqueue", "enqueue", "parallel", "interrupt", "rollback", "reject")),
        key=st.sampled_from((None, None, None, "k1", "k2")),
        content=st.sampled_from(("a", "a", 'b"\n')),
        history=st.booleans(),
        wait=st.sampled_from((0, 0, 0, 2_000, 40_000)),
        deadline=st.sampled_from((600, 600, 60)),
        fate=FATE,
    )
    def submit(
        self, session: str | None, on_busy: str, key: str | None, content: str, history: bool, wait: int,
        deadline: int, fate: str,
    ) -> None:  # fmt: skip
        job = ChatJob(
            job_id=f"j{len(self.documents)}",
            messages=[{"role": "user", "content": content}],
            session_id=session,
            on_busy=on_busy,
            idempotency_key=key,
            history="session" if history and session else None,
            run_at=(self.model.now + wait) / 1000 if wait else None,
            deadline=deadline,
        )
        self._submit(job, fate)

    def _submit(self, job: ChatJob, fate: str) -> None:
        self.documents[job.job_id] = job
        call = calls.submit(job)
        self.places.append(call.place)
        self.do(call, fate)

    @precondition(lambda self: self.documents)
    @rule(pick=PICK, content=st.sampled_from((None, None, "c")), fate=FATE)
    def submit_anew(self, pick: int, content: str | None, fate: str) -> None:
        """A client that forgot its job id sends the same body (or another) with the same key."""
        job_ids = list(self.documents)
        job = self.documents[job_ids[-1 - pick % len(job_ids)]]
        changes: dict[str, Any] = {"job_id": f"j{len(self.documents)}"}
        if content:
            changes["messages"] = [job.messages[0].model_copy(update={"content": content})]
        self._submit(job.model_copy(update=changes), fate)

    @precondition(lambda self: self._found())
    @rule(pick=PICK, session=st.sampled_from(("s2", "s3", None)), fate=FATE)
    def submit_elsewhere(self, pick: int, session: str | None, fate: str) -> None:
        """The id of a job that is there, in another session."""
        found = self._found()
        job = found[-1 - pick % len(found)]
        elsewhere = session if session != job.session_id else "s4"
        job = job.model_copy(update={"session_id": elsewhere})
        call = calls.submit(job)
        self.failed = True
        self._loosen(call, fate)
        self._do(call, fate)  # not to be repeated: when that job is gone the id may be used again
        self.failed = False

    @precondition(lambda self: self.places)
    @rule(pick=PICK, how=st.sampled_from(("cancel", "interrupt", "rollback", "expire")), fate=FATE)
    def end(self, pick: int, how: str, fate: str) -> None:
        place = self._place(pick)
        self.do(calls.expire(place) if how == "expire" else calls.cancel(place, mode=how), fate)

    @precondition(lambda self: self.places)
    @rule(pick=PICK)
    def drop_letter(self, pick: int) -> None:
        place = self._place(pick)
        score = self.watch.state.content.get(KEYS.dead, {}).get(due_member(*astuple(place)).encode(), 0)
        count = run(self.server, exchange.query(dead.drop(KEYS, [astuple(place)])))
        assert count == (score != 0)
        job = self.model.jobs.get(place.job_id)
        if job is not None and job.status.ended:  # else it was lost, came again, and gets a letter of its own
            job.dropped |= count == 1
        self.watch.look(self.model)

    # Workers

    @precondition(lambda self: self.places)
    @rule(
        pick=PICK,
        turn=st.sampled_from((True, True, False)),
        worker=st.sampled_from(WORKERS),
        known=st.booleans(),
        fate=FATE,
    )
    def claim(self, pick: int, turn: bool, worker: str, known: bool, fate: str) -> None:
        """A message arrives: mostly for a job that has the turn."""
        active = [session for session in self.model.sessions.values() if session.active]
        place = self._place(pick)
        if turn and active:
            session = active[pick % len(active)]
            place = Place(session.session_id, session.active or "")
        job = self.model.jobs.get(place.job_id)
        self._claim(place, worker, fate, queue=job.queue if job and known else "")

    def _claim(self, place: Place, worker: str, fate: str, *, queue: str = "") -> None:
        self.claims += 1
        reply = self.do(calls.claim(place, token=f"t{self.claims}", worker=worker, queue=queue), fate)
        if isinstance(reply, Claimed):
            self.holdings.append(Holding(place, reply.fence, entries=len(reply.journal)))

    @precondition(lambda self: self.holdings)
    @rule(
        holder=HOLDER,
        words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
        kind=st.sampled_from(("text_chunk", "text_chunk", "reasoning_chunk")),
        restart=st.booleans(),
        skew=st.sampled_from((0, 0, 0, 0, 1, -1)),
        fate=FATE,
    )
    def append(
        self, holder: tuple[bool, int], words: list[str], kind: str, restart: bool, skew: int, fate: str
    ) -> None:
        holding = self._holding(*holder)
        events: list[dict[str, Any]] = [{"type": kind, "data": {"delta": word}} for word in words]
        if holding.sent == 0:
            told = self.watch.told.get(holding.place.job_id)
            offset = len(told.text) if told and not restart else 0
            events.insert(0, {"type": "stream_start", "data": {"offset": offset}})
        first = max(1, holding.sent + 1 + skew)
        reply = self.do(calls.append(holding.place, fence=holding.fence, first=first, events=events), fate)
        if isinstance(reply, Appended):
            holding.sent = reply.last_taken

    @precondition(lambda self: self.holdings)
    @rule(
        holder=HOLDER,
        what=st.sampled_from(("renew", "save_entry", "save_entry", "note_failures")),
        number=st.integers(0, 2),
        fate=FATE,
    )
    def store(self, holder: tuple[bool, int], what: str, number: int, fate: str) -> None:
        holding = self._holding(*holder)
        place, fence = holding.place, holding.fence
        match what:
            case "renew":
                self.do(calls.renew(place, fence=fence), fate)
            case "note_failures":
                self.do(calls.note_failures(place, fence=fence, failures=number), fate)
            case _:
                number = max(1, holding.entries + (1, 0, 2)[number])
                reply = self.do(calls.save_entry(place, fence=fence, number=number), fate)
                holding.entries = reply.count if isinstance(reply, Stored) else holding.entries

    @precondition(lambda self: self.holdings)
    @rule(
        holder=HOLDER,
        how=st.sampled_from(("release", "completed", "completed", "failed", "cancelled")),
        wait=st.sampled_from((0, 2_000, 40_000)),
        fate=FATE,
    )
    def leave(self, holder: tuple[bool, int], how: str, wait: int, fate: str) -> None:
        """Give the job back, for now or until a time, or end it."""
        holding = self._holding(*holder)
        place, fence = holding.place, holding.fence
        if how == "release":
            resume_at = self.model.now + wait if wait else 0
            self.do(calls.release(place, fence=fence, resume_at=resume_at), fate)
        else:
            answer = b'{"role":"assistant","content":"%s"}' % place.job_id.encode()
            history = [*operations.new_messages(self.documents[place.job_id]), answer]
            self.do(calls.finish(place, fence=fence, status=Status(how), history=history), fate)

    # Anybody

    @precondition(lambda self: self.calls)
    @rule(pick=st.integers(0, 49), fate=FATE)
    def repeat(self, pick: int, fate: str) -> None:
        """A call that was made before comes again, as it was."""
        call = self.calls[-1 - pick % len(self.calls)]
        self.do(call, fate if call.name != "look" else "")

    @rule(pick=st.integers(0, 39), step=st.sampled_from(STEPS_BACK))
    def clock(self, pick: int, step: int) -> None:
        """Now and then another machine's clock counts: a failover."""
        if pick % 10 == 7:
            self.watch.set_back -= step
            self._pause(step)
            self.watch.look(self.model)

    @rule(milliseconds=st.sampled_from(PAUSES))
    def pause(self, milliseconds: int) -> None:
        self._pause(milliseconds)
        self.watch.look(self.model)

    @precondition(lambda self: self.places)
    @rule(pick=st.integers(0, 99), session=st.sampled_from(("s1", "s2")), fate=FATE)
    def seldom(self, pick: int, session: str, fate: str) -> None:
        """A failover forgets a job, whose client may come again, or one comes in that cannot be accepted."""
        # Middling values: hypothesis likes the ends.
        if pick % 10 == 7:
            place = self._place(pick // 10)
            key = KEYS.job(place.session_id, place.job_id)
            self.server.send([("DEL", key, f"{key}:text", f"{key}:reasoning")])
            if place.job_id in self.model.jobs:
                self._forget(self.model.jobs[place.job_id])
            self.watch.look(self.model)
            if pick > 50 and place.job_id in self.documents:
                self.do(calls.submit(self.documents[place.job_id]), fate)
        elif pick % 10 == 4:
            place = Place(session, f"r{len(self.places)}")
            self.places.append(place)
            self.do(calls.refuse(place), fate)

    # Sweepers

    @precondition(lambda self: self.places)
    @rule(
        pick=PICK,
        age=st.sampled_from((0, 0, 500, 4_000)),
        grace=st.sampled_from((0, 0, GRACE)),
        worker=st.sampled_from(("dead", "alive", "")),
        resend_to=st.sampled_from(("", "palaver.normal", "palaver.resume")),
        lost=st.booleans(),
    )
    def look(self, pick: int, age: int, grace: int, worker: str, resend_to: str, lost: bool) -> None:
        """A look that is not of the sweep's making: a second sweeper, or one that was slow."""
        passed = {queue: Passed(self.model.now - age, resend_to) for queue in ALL_QUEUES if resend_to}
        turn = self.sweeps.turns.turn(self.model.now - age)
        call = calls.look(self._place(pick), turn=turn, grace=grace, worker=worker, passed=passed)
        self.do(call, "lost" if lost else "")

    @precondition(lambda self: self.holdings)
    @rule(holder=HOLDER, verdict=st.sampled_from(("dead", "dead", "alive")), fate=FATE)
    def take_over(self, holder: tuple[bool, int], verdict: str, fate: str) -> None:
        """A worker falls silent until its lease is over, and another one gets its job: a zombie is made."""
        place = self._holding(*holder).place
        job = self.model.jobs.get(place.job_id)
        if job is not None and job.token is not None:
            self._pause(max(0, job.lease - self.model.now) + 1)
            for said in ("", verdict):  # as a sweep does: the first look names the worker to ask for
                self.do(calls.look(place, turn=self.sweeps.turns.turn(self.model.now), worker=said))
            self._claim(place, "w1", fate)

    @rule(live=st.sampled_from(((), ("w0",), WORKERS)), empty=st.sampled_from(((), ALL_QUEUES, (RESUME,))))
    def sweep(self, live: tuple[str, ...], empty: tuple[str, ...]) -> None:
        self._sweep(live, empty)

    def _sweep(self, live: tuple[str, ...], empty: tuple[str, ...]) -> None:
        self.failed = True
        sent = self.sweeps.sweep(live, empty)
        self.counts["sweep", "sent" if sent else "nothing"] += 1
        self.failed = False

    def teardown(self) -> None:
        """When every deadline is over, sweeps alone have ended every job and freed every turn."""
        if self.failed:
            return
        ends = [job.deadline for job in self.model.jobs.values()]
        looks = self.watch.state.content.get(KEYS.due, {}).values()  # at jobs that were forgotten too
        last = max([*ends, *map(int, looks), self.model.now]) + self.watch.set_back
        self._pause(last - self.model.now + 61_000)
        for pause in (2_900, 2_900, 2_900, 61_000, 0):
            self._sweep((), ALL_QUEUES)
            self._pause(pause)
        alive = [job.job_id for job in self.model.jobs.values() if not job.status.ended]
        assert not alive, "these jobs never end"
        assert not self.watch.state.content.get(KEYS.due), "sweepers look for ever"
        for queue in ALL_QUEUES:
            assert not self.watch.state.content.get(KEYS.sent(queue)), "messages are waited for without a job"
        for session in self.model.sessions.values():
            assert session.active is None, f"{session.active} keeps the turn of {session.session_id}"
            assert not session.line
            listed = self.watch.state.content.get(KEYS.jobs(session.session_id), {})
            assert math.inf not in listed.values(), "a list of jobs that never end"


def _without(value: Any, job_id: str) -> Any:
    """A list of jobs without this one; anything else as it is."""
    member = job_id.encode()
    if not isinstance(value, dict) or value.get(member) != math.inf:
        return value
    return {each: score for each, score in value.items() if each != member}


def _word(reply: Any) -> str:
    if isinstance(reply, NotClaimed):
        return reply.reason
    if isinstance(reply, Looked):
        return f"{reply.outcome} {reply.detail}" if reply.outcome == "ended" else reply.outcome
    return type(reply).__name__
