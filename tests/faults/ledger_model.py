"""The rules of the ledger as plain Python over dictionaries: no Redis, no scripts, no round trips.

Each method is one call on the ledger and returns what it must answer: a reply, or the error of its verdict.
What only the log knows is UNKNOWN in replies: the seq of an event, and how many jobs were said to be ahead.
Times are in milliseconds.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from palaver.shared.errors import (
    ConflictError,
    FencedError,
    JobEndedError,
    JobGoneError,
    PalaverError,
    SequenceGapError,
    SessionBusyError,
)
from palaver.shared.jobs import ChatJob, OnBusy, Status, fingerprint
from palaver.shared.ledger import (
    Appended,
    Cancelled,
    Claimed,
    Dispatch,
    Expired,
    Finished,
    NotClaimed,
    Refused,
    Released,
    Renewed,
    Stored,
    Submitted,
)
from palaver.shared.ledger.operations import session_of
from palaver.shared.ledger.replies import Looked, Passed, SweepTurn
from palaver.shared.names import queue_for
from tests.faults.ledger_model_state import Job, Session

UNKNOWN: Final = -1
RESUME: Final = "palaver.resume"
POISONED_AFTER: Final = 3
RESEND: Final = 5_000
LONGEST: Final = 300_000
SLOW: Final = 3_000
"""A look so long after its sweep began judges no lease."""
JUMPS: Final = (OnBusy.INTERRUPT, OnBusy.ROLLBACK)


class Model:
    """The ledger. `now` is moved by the test, `retention` is how long an ended job is kept."""

    def __init__(self, now: int, *, retention: int) -> None:
        self.now = now
        self.retention = retention
        self.sessions: dict[str, Session] = {}
        self.jobs: dict[str, Job] = {}

    def session(self, session_id: str) -> Session:
        return self.sessions.setdefault(session_id, Session(session_id))

    def lose(self, job_id: str) -> None:
        """The job's keys are gone, by their time to live or by a failover."""
        self.jobs.pop(job_id, None)

    def lose_lines(self) -> None:
        """Lines are gone whose time is over: nobody has entered them or swept for so long."""
        for session in self.sessions.values():
            if session.line_vanishes < self.now:
                session.line = []

    # Coming in

    def submit(self, job: ChatJob) -> Submitted | PalaverError:
        session = self.session(session_of(job))
        known = self.jobs.get(job.job_id)
        if known is not None and known.session is not session:
            return ConflictError()
        created = known is not None
        if known is None and job.idempotency_key:
            known = self.jobs.get(session.keys.get(job.idempotency_key, ""))
        if known is not None:
            return self._recall(known, job, created=created)
        busy = any(map(self._alive, [session.active or "", *session.line]))
        at_once = round((job.run_at or 0) * 1000) <= self.now
        if job.on_busy is OnBusy.REJECT and at_once and busy:
            return SessionBusyError()
        return self._submitted(self._store(session, job), created=True)

    def _store(self, session: Session, document: ChatJob) -> Job:
        run_at = max(self.now, round((document.run_at or 0) * 1000))
        deadline = run_at + round(document.deadline * 1000)
        job = Job(document.job_id, session, document, deadline, deadline + self.retention)
        job.queue = queue_for(document.priority).value
        self.jobs[job.job_id] = job
        self._leave(session, job.job_id)
        if document.idempotency_key:
            session.keys[document.idempotency_key] = job.job_id
        if run_at > self.now:
            job.parked = run_at
        else:
            turn = self._enter(job)
            job.repaired = turn if turn and turn.job_id != job.job_id else None
        self._keep_line(job)
        return job

    def _recall(self, known: Job, job: ChatJob, *, created: bool) -> Submitted | PalaverError:
        if known.document is None or fingerprint(known.document) != fingerprint(job):
            return ConflictError()
        return self._submitted(known, created=created)

    def _submitted(self, job: Job, *, created: bool) -> Submitted:
        dispatch = None
        if job.status is Status.QUEUED and job.parked is None:
            has_turn = job.mode is OnBusy.PARALLEL or job.session.active == job.job_id
            dispatch = self._dispatch(job) if has_turn else job.repaired
        return Submitted(
            session_id=job.session.session_id,
            job_id=job.job_id,
            cursor=UNKNOWN,
            created=created,
            status=job.status,
            position=UNKNOWN,
            dispatch=dispatch,
        )

    def refuse(self, session_id: str, job_id: str) -> Refused:
        known = self.jobs.get(job_id)
        if known is not None and known.document is not None:
            return Refused(status=known.status, cursor=0, existed=True)
        if known is None:
            known = self.jobs[job_id] = Job(job_id, self.session(session_id), None)
            self._end_unheld(known, Status.FAILED)
        return Refused(status=known.status, cursor=UNKNOWN, existed=False)

    # Turns

    def _alive(self, job_id: str) -> bool:
        return job_id in self.jobs and not self.jobs[job_id].status.ended

    def _send(self, job: Job, queue: str, *, again: bool = False) -> Dispatch:
        job.queue, job.sent, job.resends = queue, self.now, job.resends + 1 if again else 0
        return self._dispatch(job)

    def _dispatch(self, job: Job) -> Dispatch:
        return Dispatch(job.session.session_id, job.job_id, job.queue)

    def _leave(self, session: Session, job_id: str) -> None:
        """A job that was lost has no place any more, whatever comes under its id."""
        if session.active == job_id:
            session.active = None
        if job_id in session.line:
            session.line.remove(job_id)

    def _enter(self, job: Job) -> Dispatch | None:
        """The job enters the line; who has the turn by this."""
        session = job.session
        if job.mode is OnBusy.PARALLEL:
            return self._send(job, job.queue)
        repaired = self._repair(session)
        if session.active is None:
            session.active = job.job_id
            return self._send(job, job.queue)
        if not session.line:
            session.line_vanishes = 0
        if job.mode not in JUMPS:
            session.line.append(job.job_id)
            return repaired
        session.line.insert(0, job.job_id)
        running = self.jobs[session.active]
        if self._held(running):
            self._ask(running, job.mode.value)
            return repaired
        if job.mode is OnBusy.ROLLBACK:
            running.cancel = "rollback"
        running.displaced = True
        return self._end_unheld(running, Status.CANCELLED)

    def _repair(self, session: Session) -> Dispatch | None:
        """A turn whose job ended or vanished goes to the next."""
        return None if self._alive(session.active or "") else self._hand_on(session)

    def _keep_line(self, job: Job) -> None:
        """The session's line, if there is one, lives at least as long as the job."""
        if job.session.line:
            job.session.line_vanishes = max(job.session.line_vanishes, job.vanishes)

    def _hand_on(self, session: Session) -> Dispatch | None:
        session.active = None
        while session.line and session.active is None:
            job_id = session.line.pop(0)
            session.active = job_id if self._alive(job_id) else None
        if session.active is None:
            return None
        job = self.jobs[session.active]
        return self._send(job, RESUME)

    def _successor(self, job: Job) -> Dispatch | None:
        """Whom the job's end gave the turn, for who asks again, while a message can be of use."""
        known = self.jobs.get(job.next.job_id) if job.next else None
        return job.next if known and known.status is Status.QUEUED else None

    # A worker's calls

    def claim(self, job_id: str, *, token: str, worker: str, lease: int) -> Claimed | NotClaimed:
        job = self.jobs.get(job_id)
        if job is None:
            return NotClaimed("gone")
        if job.status.ended:
            return NotClaimed("ended")
        if job.token != token:
            if job.token is not None:
                return NotClaimed("leased")
            if max(job.parked or 0, job.resume or 0) > self.now:
                return NotClaimed("not_due")
            if job.mode is not OnBusy.PARALLEL and job.session.active != job_id:
                return NotClaimed("waiting")
            job.status, job.attempt, job.token = Status.RUNNING, job.attempt + 1, token
            job.worker, job.lease, job.term, job.taken = worker, self.now + lease, lease, 0
            job.started = self.now if job.started is None else job.started
            job.parked, job.resume = None, None
            job.sent, job.resends = None if job.resends else job.sent, 0
        return self._claimed(job)

    def _claimed(self, job: Job) -> Claimed:
        with_history = job.document is not None and job.document.history == "session"
        return Claimed(
            session_id=job.session.session_id,
            job_id=job.job_id,
            attempt=job.attempt,
            fence=job.fence,
            job=b"",
            text=job.text,
            reasoning=job.reasoning,
            journal=list(job.journal),
            history=list(job.session.messages) if with_history else [],  # type: ignore[arg-type] # parsed
            failures=job.failures,
            tries=b"",
            cancelled=job.cancel,
            deadline=(job.deadline - self.now) / 1000,
            begun=(self.now - (job.started or self.now)) / 1000,
        )

    def _fence(self, job_id: str, fence: str) -> PalaverError | None:
        """Why the worker of this claim may not write."""
        job = self.jobs.get(job_id)
        if job is None:
            return JobGoneError()
        if job.status.ended:
            return JobEndedError()
        return None if job.token is not None and job.fence == fence else FencedError()

    def append(
        self, job_id: str, *, fence: str, first: int, events: list[dict[str, Any]]
    ) -> Appended | PalaverError:
        if verdict := self._fence(job_id, fence):
            return verdict
        job = self.jobs[job_id]
        last = first + len(events) - 1
        if last > job.taken:
            if first != job.taken + 1:
                return SequenceGapError(last_taken=job.taken)
            job.taken = last
            job.deaths = 0 if last > 1 else job.deaths
            for event in events:
                self._log(job, event)
        return Appended(cancelled=job.cancel, last_taken=job.taken)

    def _log(self, job: Job, event: dict[str, Any]) -> None:
        match event["type"]:
            case "stream_start" if event["data"]["offset"] == 0:
                job.text = job.reasoning = ""
            case "text_chunk":
                job.text += event["data"]["delta"]
            case "reasoning_chunk":
                job.reasoning += event["data"]["delta"]
        job.session.log.append({"job_id": job.job_id, "attempt": job.attempt, **event})

    def renew(self, job_id: str, *, fence: str, lease: int) -> Renewed | PalaverError:
        if verdict := self._fence(job_id, fence):
            return verdict
        job = self.jobs[job_id]
        job.lease = self.now + lease
        return Renewed(cancelled=job.cancel)

    def save_entry(
        self, job_id: str, *, fence: str, number: int, content: bytes, events: list[dict[str, Any]]
    ) -> Stored | PalaverError:
        if verdict := self._fence(job_id, fence):
            return verdict
        job = self.jobs[job_id]
        if number > len(job.journal) + 1:
            return SequenceGapError(last_taken=len(job.journal))
        if number == len(job.journal) + 1:
            job.journal.append(content)
            job.deaths = 0
            for event in events:
                self._log(job, event)
        return Stored(cancelled=job.cancel, count=len(job.journal))

    def note_failures(self, job_id: str, *, fence: str, failures: int) -> Stored | PalaverError:
        if verdict := self._fence(job_id, fence):
            return verdict
        job = self.jobs[job_id]
        job.failures = max(job.failures, failures)
        return Stored(cancelled=job.cancel, count=job.failures)

    def release(self, job_id: str, *, fence: str, resume_at: int) -> Released | PalaverError:
        verdict = self._fence(job_id, fence)
        job = self.jobs.get(job_id)
        if verdict is None and job is not None:
            self._free(job, 0 if job.cancel else resume_at)
        elif job is None or job.status.ended or job.attempt != _attempt(fence) or job.resume is None:
            return verdict or JobGoneError()
        if job.resume > self.now:  # type: ignore[operator] # it was released
            return Released(dispatch=None)
        # where it was sent then, wherever a sweep has sent it since
        return Released(dispatch=replace(self._dispatch(job), queue=RESUME))

    def finish(
        self, job_id: str, *, fence: str, end: dict[str, Any], history: list[dict[str, Any]]
    ) -> Finished | PalaverError:
        verdict = self._fence(job_id, fence)
        if verdict is None:
            job = self.jobs[job_id]
            job.answered, job.ended_by = "response" in end, fence
            self._end(job, Status(end["status"]), end, history)
        elif not isinstance(verdict, JobEndedError) or self.jobs[job_id].ended_by != fence:
            return verdict
        job = self.jobs[job_id]
        return Finished(status=job.status, seq=UNKNOWN, dispatch=self._successor(job))

    def _free(self, job: Job, resume_at: int) -> None:
        job.token, job.resume, job.queue = None, resume_at, RESUME
        job.sent, job.resends = None if resume_at > self.now else self.now, 0

    # Ends

    def _end(self, job: Job, status: Status, end: dict[str, Any], history: list[dict[str, Any]]) -> None:
        session = job.session
        session.log.append({"job_id": job.job_id, "attempt": job.attempt, "type": "stream_end", "data": end})
        if status in (Status.COMPLETED, Status.CANCELLED) and job.cancel != "rollback":
            session.messages += history
        job.status, job.token, job.parked, job.vanishes = status, None, None, self.now + self.retention
        if session.active == job.job_id:
            job.next = self._hand_on(session)
        elif job.job_id in session.line:
            session.line.remove(job.job_id)

    def _end_unheld(self, job: Job, status: Status) -> Dispatch | None:
        """Whoever ends a job that no worker holds claims it first, so that its worker can write no more."""
        if job.status is Status.RUNNING:
            job.attempt += 1
        history = job.user
        if job.text:
            partial = {"job_id": job.job_id, "partial": True}
            history = [*history, {"role": "assistant", "content": job.text, "metadata": partial}]
        thought = {"reasoning": job.reasoning} if job.reasoning else {}
        end = {"status": status.value, "text": job.text, **thought, "finish_reason": "error"}
        self._end(job, status, end, history)
        return job.next

    def _held(self, job: Job) -> bool:
        return job.token is not None and job.lease > self.now

    def _ask(self, job: Job, mode: str) -> None:
        """A held job is its worker's to end. A rollback outranks what was asked before."""
        if mode == "rollback" or not job.cancel:
            job.cancel = mode

    def cancel(self, job_id: str, *, mode: str) -> Cancelled | PalaverError:
        job = self.jobs.get(job_id)
        if job is None:
            return JobGoneError()
        if job.status.ended:
            return Cancelled(status=job.status, dispatch=self._successor(job))
        if self._held(job):
            self._ask(job, mode)
            return Cancelled(status=job.status, dispatch=None)
        if mode == "rollback":
            job.cancel = mode
        return Cancelled(status=Status.CANCELLED, dispatch=self._end_unheld(job, Status.CANCELLED))

    def expire(self, job_id: str) -> Expired | PalaverError:
        job = self.jobs.get(job_id)
        if job is None:
            return JobGoneError()
        if job.status.ended:
            return Expired(status=job.status, dispatch=self._successor(job))
        if job.deadline > self.now:
            return Expired(status=job.status, dispatch=None, early=(job.deadline - self.now) / 1000)
        if self._held(job):
            self._ask(job, "expire")
            return Expired(status=job.status, dispatch=None)
        return Expired(status=Status.EXPIRED, dispatch=self._end_unheld(job, Status.EXPIRED))

    # Sweepers

    def look(
        self,
        session_id: str,
        job_id: str,
        *,
        turn: SweepTurn,
        grace: int,
        worker: str,
        passed: Mapping[str, Passed],
    ) -> Looked:
        """`worker` says whether the one of an expired lease is dead or alive."""
        job = self.jobs.get(job_id)
        if job is None or job.status.ended:
            return self._over(job, self._unsent_turn(self.session(session_id), job_id))
        job.lease = min(job.lease, self.now + job.term)  # the clock may have been set back
        if self._held(job):
            if job.deadline <= self.now:
                self._ask(job, "expire")
            return _looked("ok")
        if job.token is not None and self._spared(job, turn, grace):
            return _looked("ok")
        if job.deadline <= self.now:
            return self._over(job, self._end_unheld(job, Status.EXPIRED))
        if job.token is not None:
            return self._free_lease(job, worker)
        if max(job.parked or 0, job.resume or 0) > self.now:
            return _looked("ok")
        if job.parked is not None:
            return self._begin(job)
        if job.status is Status.RUNNING or job.mode is OnBusy.PARALLEL or job.session.active == job_id:
            return self._look_for_message(job, passed)
        return _looked("ok", self._repair(job.session))

    def _look_for_message(self, job: Job, passed: Mapping[str, Passed]) -> Looked:
        if job.sent is None:
            return _looked("ok", self._send(job, job.queue))
        job.sent = min(job.sent, self.now)
        if self.now < job.sent + min(RESEND * 2**job.resends, LONGEST):
            return _looked("ok")
        at = passed.get(job.queue)
        if at is None or job.sent >= at.before:
            looked = _looked("queued")
            return replace(looked, queue=job.queue, sent=job.sent)
        return _looked("ok", self._send(job, at.resend_to, again=True))

    def _spared(self, job: Job, turn: SweepTurn, grace: int) -> bool:
        """An expired lease that its worker may not have been able to renew."""
        began, stopped, resumed = (round(time * 1000) for time in (turn.time, turn.stopped, turn.resumed))
        return self.now > began + SLOW or (job.lease > stopped and self.now < resumed + grace)

    def _begin(self, job: Job) -> Looked:
        """Its time has come."""
        job.parked = None
        if job.mode is OnBusy.REJECT:
            turn = self._repair(job.session)
            if job.session.active:
                self._end_unheld(job, Status.FAILED)
                return self._over(job, turn)
        turn = self._enter(job)
        self._keep_line(job)
        return _looked("ok", turn)

    def _over(self, job: Job | None, turn: Dispatch | None) -> Looked:
        return _looked("gone", turn) if job is None else _looked("ended", turn, job.status.value)

    def _free_lease(self, job: Job, worker: str) -> Looked:
        if job.cancel not in ("", "expire"):
            return self._over(job, self._end_unheld(job, Status.CANCELLED))
        if not worker:
            return _looked("unsure", detail=job.worker)
        if worker == "dead":
            job.deaths += 1
            if job.deaths >= POISONED_AFTER:
                return self._over(job, self._end_unheld(job, Status.FAILED))
        self._free(job, 0)
        return _looked("ok", self._dispatch(job))

    def _unsent_turn(self, session: Session, over: str) -> Dispatch | None:
        """Whoever gave the turn may have died before it sent the message. What is over has no place."""
        self._leave(session, over)
        repaired = self._repair(session)
        if repaired or session.active is None:
            return repaired
        job = self.jobs[session.active]
        if job.status is not Status.QUEUED or job.resends:
            return None
        return self._send(job, job.queue, again=True)


def _attempt(fence: str) -> int:
    return int(fence.partition(":")[0])


def _looked(outcome: Any, dispatch: Dispatch | None = None, detail: str = "") -> Looked:
    return Looked(outcome=outcome, next_look=UNKNOWN, dispatch=dispatch, detail=detail)
