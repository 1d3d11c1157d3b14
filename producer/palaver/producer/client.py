"""The client of programs without an event loop."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, overload

from pydantic import BaseModel

from palaver.producer import batches as batching
from palaver.producer.background import background
from palaver.producer.broker import Broker
from palaver.producer.bulk import Bulk
from palaver.producer.files import Files
from palaver.producer.handles import JobHandle, ModelHandle
from palaver.producer.prepare import (
    Admission,
    AllowJob,
    Announced,
    JobFields,
    JobLike,
    agent_paths,
    announced,
    check_after,
    check_agents,
    check_timeout,
    numbered,
    own_catalog,
    period,
    prepare,
    prepare_again,
    prepare_many,
)
from palaver.producer.probing import PROBE_SECONDS, health_of, no_worker, probe_message
from palaver.producer.sealed import SealedProfiles, check_kept, sealed_for
from palaver.producer.tracing import traced
from palaver.shared import collector, stores
from palaver.shared.errors import BatchNotFoundError, BrokerFullError, BrokerUnavailableError, PalaverError
from palaver.shared.health import Health
from palaver.shared.ids import check_job_id, check_session_id
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import DeadLetter, Dispatch, JobView, Submitted
from palaver.shared.messages import MessagesLike
from palaver.shared.reader_tokens import DEFAULT_SECONDS, make_reader_token
from palaver.shared.responses import ChatResponse, ModelResponse
from palaver.shared.settings import Settings
from palaver.shared.spending import DailyUsage, MonthlySpending

if TYPE_CHECKING:  # loaded by who makes a client, with the library for Redis: not by all who import it
    from palaver.producer.reading import SendNow
    from palaver.shared.batches import BatchJob
    from palaver.shared.events import AnyEvent
    from palaver.shared.ledger import SyncLedger

log = logging.getLogger("palaver.producer")

M = TypeVar("M", bound=BaseModel)


class Client:
    """Submits jobs and reads what comes back. Safe to use from several threads and after a fork.

    `Client()` takes its settings from `PALAVER_*` and `palaver.toml`; `Client(redis_url=…)` names some of
    them. Nothing is connected before the first use. Every method raises LedgerUnavailableError or
    BrokerUnavailableError, naming the URL, within 3 seconds when it cannot reach its server. `files` has the
    files that jobs may name.
    """

    def __init__(self, settings: Settings | None = None, **values: Any) -> None:
        from palaver.producer.reading import BlockingReading
        from palaver.shared.ledger import SyncLedger

        self.settings = settings or Settings.load(**values)
        self.ledger = SyncLedger(self.settings)
        self.broker = Broker.of(self.settings)
        self.reading = BlockingReading(self.settings, _sender(self.broker))
        self.files = Files(self.settings)
        self._admission = Admission(own_catalog(self.settings))
        self._sealed = SealedProfiles(self.settings)
        self._close = weakref.finalize(self, _close, self.ledger, self.broker)

    @overload
    def submit(
        self,
        messages: MessagesLike,
        *,
        wait: Literal[False] = False,
        timeout: float | None = None,
        **fields: Unpack[JobFields],
    ) -> JobHandle: ...

    @overload
    def submit(
        self,
        messages: MessagesLike,
        *,
        wait: Literal[True],
        timeout: float | None = None,
        **fields: Unpack[JobFields],
    ) -> ChatResponse: ...

    @overload
    def submit(
        self,
        messages: MessagesLike,
        *,
        response_model: type[M],
        wait: Literal[False] = False,
        timeout: float | None = None,
        **fields: Unpack[JobFields],
    ) -> ModelHandle[M]: ...

    @overload
    def submit(
        self,
        messages: MessagesLike,
        *,
        response_model: type[M],
        wait: Literal[True],
        timeout: float | None = None,
        **fields: Unpack[JobFields],
    ) -> ModelResponse[M]: ...

    def submit(
        self,
        messages: MessagesLike,
        *,
        response_model: type[BaseModel] | None = None,
        wait: bool = False,
        timeout: float | None = None,
        **fields: Unpack[JobFields],
    ) -> JobHandle | ChatResponse:
        """Store a job and tell the workers; with `wait`, wait for its result, at most `timeout` seconds.

        `messages` is a prompt, a message, or a list of them; `model` is `"profile/model"`, an alias, or a
        list in the order of fallback. A job with a `session_id` goes on with that session's history. With a
        `response_model` the answer has to fit that pydantic model's schema, and the result has it as
        `parsed`.

        Raises, before anything is stored: ValidationError with `param`, and the errors of a server that
        cannot be reached. Raises from the ledger: ConflictError, SessionBusyError, QueueFullError,
        SessionClosedError, LedgerFullError. If the broker fails only after the job was stored, the job is
        safe and this returns as usual, with a warning in the log: a worker's sweep sends the message again.
        """
        check_timeout(timeout)
        job = prepare(messages, self.settings, fields, response_model)
        handle = self._submit(job)
        if response_model is not None:
            handle = ModelHandle(self, handle.session_id, handle.job_id, handle.cursor, response_model)
        return handle.result(timeout) if wait else handle

    def submit_many(self, jobs: Iterable[JobLike]) -> list[JobHandle]:
        """Store many jobs, many times faster than one by one; the handles are in the order of the jobs.

        A job is a prompt, a dict of `submit`'s arguments, or a `ChatJob`. All are validated before one is
        stored; errors name the place, e.g. `jobs[3].params.temperature`. Where the ledger refuses some (see
        `submit`), all others are stored, and then the error of the first refused is raised: its `param` is
        the place, and its `handles` are in the order of the jobs, with None for each that was refused. If the
        ledger is lost on the way, LedgerUnavailableError has the handles of what is known to be stored. Give
        jobs an `idempotency_key`, and the call can be repeated.
        """
        with collector.paused():
            return self._submit_all(jobs)  # whose jobs are gone when the collector looks again

    def batch(
        self,
        jobs: batching.BatchSource,
        *,
        skip_invalid: bool = False,
        allow: AllowJob | None = None,
        **fields: Unpack[batching.BatchFields],
    ) -> batching.BatchHandle:
        """Store many jobs as one batch, in constant memory; the workers run its lines as they find room.

        `jobs` is the path of a file of JSON lines, such a file open for bytes, or any iterable of jobs. An
        entry is a line of OpenAI's batch format or what `submit_many` takes, with a `custom_id` if it has
        one. `model` and `params` are for lines that say nothing themselves. `window` bounds how many run at
        once, `completion_window` the seconds for all; with `fail_fast` the first failure ends the batch, with
        `dedupe` equal lines are asked once, but for answers above PALAVER_CACHE_ANSWER_BYTES, which are not
        kept; `webhook` is told the end.

        Every entry is checked before one is stored. Raises BatchInputError, which tells all that are wrong
        by their lines; with `skip_invalid` those are left out and told in the batch's errors. `allow`
        gives the job of each as it is to be taken, or raises ValidationError.

        Raises ConfigurationError without a store of files, FileStoreUnavailableError, and ConflictError for
        an `idempotency_key` that was used for another batch.
        """
        with self._intake(fields, allow=allow, skip_invalid=skip_invalid) as intake:
            intake.take(batching.entries(jobs, self.settings.max_document_bytes))
            return self._open_batch(intake)

    def batches(self, batch_id: str) -> batching.BatchHandle:
        """The handle of a batch that anybody opened. Raises BatchNotFoundError."""
        check_session_id(batch_id, param="batch_id")
        self.ledger.batch(batch_id)
        return batching.BatchHandle(self, batch_id)

    def retry_batch(self, batch_id: str) -> batching.BatchHandle:
        """Do what has no answer again; see `BatchHandle.retry_failed`."""
        view = self.ledger.batch(batch_id)
        with self._intake(batching.fields_again(view)) as intake:
            loop = background()
            ledger = loop.run(self.reading.on(loop)).hub.ledger
            for lines in loop.drain(batching.unanswered(ledger, self.batch_files, view.batch)):
                intake.take(lines)
            return self._open_batch(intake)

    @cached_property
    def batch_files(self) -> stores.BatchFiles:
        """Where the lines and the results of batches are. Raises ConfigurationError."""
        return stores.BatchFiles.of(self.settings)

    def job(self, job_id: str) -> JobHandle:
        """The handle of a job that anybody submitted. Raises JobNotFoundError."""
        check_job_id(job_id)
        view = self.view(job_id)
        return JobHandle(self, view.session_id, job_id, view.cursor)

    def view(self, job_id: str, session_id: str | None = None, *, document: bool = False) -> JobView:
        """The job as it is now: one past its deadline that no worker holds ends by this as `expired`.

        Raises JobNotFoundError.
        """
        seen = self.ledger.inspect(job_id, session_id, document=document)
        self.send([seen.dispatch])
        return seen.view

    def retry(self, job_id: str, *, allow: AllowJob | None = None) -> JobHandle:
        """Do an ended job again, as a new job in the same session with `retry_of`.

        The document is the same and the deadline counts anew; the session's history is read as it is then.
        Repeating the call makes no second job: to go on from a retry that failed, retry that one. The job
        is no dead letter any more once its successor is stored. `allow` gives it as it is to be done, or
        raises.

        Raises JobNotFoundError, JobNotFinishedError, JobError (the job was refused, there is nothing to
        retry), and what `submit` raises.
        """
        check_job_id(job_id)
        view = self.view(job_id, document=True)
        handle = self._submit(prepare_again(view, self.settings, allow))
        self.ledger.drop_dead([(view.session_id, job_id)])
        return handle

    def dead(self, limit: int | None = None) -> list[DeadLetter]:
        """The dead letters: jobs that failed or expired, the latest first; at most `limit`.

        They are kept as long as ended jobs (`PALAVER_RETENTION`), the last 10,000. None shows what was asked
        or answered: of its error there is the class and its numbers, of the message nothing.
        """
        self.expire_all()
        return self.ledger.dead(limit)

    def usage(
        self, *, since: date | None = None, until: date | None = None, tenant: str | None = None
    ) -> list[DailyUsage]:
        """What was spent from day to day (UTC's; by default today), by day, tenant and model: of one tenant,
        of jobs without one (``""``), or of all.

        A job is counted once, on the day of its end, however that came. Days are kept for
        `PALAVER_USAGE_RETENTION`. Raises ValidationError for a `since` after `until`.
        """
        first, last = period(since, until)
        return self.ledger.usage(since=first, until=last, tenant=tenant)

    def spending(self, tenant: str | None = None) -> MonthlySpending:
        """What a tenant, or jobs without one, have spent in this month (UTC's), and may by the `[tenants]` of
        this process's configuration. With a limit each request counts when it is over.
        """
        return self.ledger.spending(tenant)

    def seal(self, table: Mapping[str, Any]) -> str:
        """The name of a profile that no `palaver.toml` has: `model=f"{client.seal(…)}/gpt-4o-mini"`.

        `table` is what would stand under `[providers.NAME]`, with the key as `api_key`. It is encrypted with
        `PALAVER_SECRET`, which the workers need too, and stored with each job that names it, for as long as
        that job may need it. Raises ConfigurationError without a secret, ValidationError for a wrong table.
        """
        return self._sealed.add(table)

    def reader_token(
        self, session_id: str, *, tenant: str | None = None, seconds: float = DEFAULT_SECONDS
    ) -> str:
        """Who holds it may read this session for so many seconds, through a gateway, and do nothing else.

        For a browser. `tenant` is that of the session's jobs. While there is a session, the token is for that
        one alone; else for whichever begins under this id. Needs `PALAVER_SECRET`, the same as the gateway's
        (ConfigurationError). Raises ValidationError.
        """
        check_session_id(session_id)
        born = self.ledger.born(session_id)
        return make_reader_token(
            self.settings, session_id, tenant=tenant, born=born, seconds=seconds, now=time.time()
        )

    def expire_all(self) -> None:
        """End the jobs past their deadline that no worker sees to: what looks at all jobs begins with it."""
        self.send(self.ledger.expire_all())

    def events(self, session_id: str, after: int = 0) -> Generator[AnyEvent, None, None]:
        """All events of a session with a `seq` above `after`, live and without end.

        What the log no longer holds comes as one `resync` for each job that has not ended, or whose end was
        missed (then with its `stream_end`). Of ended ones a session can name its last 100; a `warning` with
        the code `jobs_forgotten` says that there may have been others.
        """
        check_session_id(session_id)
        check_after(after)
        return self.reading.events(session_id, after)

    def check(self) -> None:
        """One round trip to the ledger and one to the broker."""
        self.ledger.check()
        self.broker.check()

    def prepare(self) -> None:
        """Make sure that a job could be sent now; asks the broker only if it did not answer a moment ago."""
        self.broker.prepare()

    def served(self) -> Announced:
        """The profiles and aliases of live workers, by name: `{"kind": …, "models": […]}`, where None is any
        model; an alias has the kind `alias`.
        """
        return announced(self.ledger.announced_profiles())

    def agents(self) -> list[str]:
        """The paths of the agents of live workers, as patterns: `docs/<int:number>/`."""
        return [agent.name for agent in self.ledger.announced_agents()]

    def probe(self, profile: str, model: str | None = None, *, timeout: float = PROBE_SECONDS) -> Health:
        """Have a worker ask a provider, without a token spent: does it answer, and has it this model?

        What is wrong with the provider is the `error` of what this returns: ModelNotFoundError, say. Raises
        ServiceUnavailableError when no worker answers within `timeout` seconds.
        """
        message = probe_message(profile, model, timeout)
        self._keep(sealed_for(profile, timeout))
        self.broker.post([message])
        answer = self.reading.answer(message.task_id, timeout)
        if answer is None:
            raise no_worker(timeout)
        return health_of(answer)

    def send(self, dispatches: Iterable[Dispatch | None]) -> None:
        """Send messages of jobs that are stored already; a broker that fails now only delays them."""
        send_stored(self.broker, dispatches)

    def close(self) -> None:
        """Close the connections; the next use opens others. Readers that still run are not disturbed."""
        _close(self.ledger, self.broker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _admit(self, jobs: Sequence[ChatJob]) -> None:
        self.files.check(jobs)
        for _ in self._admission.rounds(jobs):
            self._admission.update(self.served())
        if paths := agent_paths(jobs):
            check_agents(paths, self.agents())
        self._keep(self._sealed.needed_by(jobs))

    def _keep(self, lives: Mapping[str, float]) -> None:
        """Have the ledger hold these sealed profiles for so many seconds."""
        if lives:
            kept = self.ledger.run_many(self._sealed.keeping(self.ledger.keys, lives))
            check_kept(lives, kept)

    def _intake(self, fields: Mapping[str, Any], **taking: Any) -> batching.Intake:
        intake = batching.Intake(self.settings, fields, self._admission.check, **taking)
        self.batch_files  # noqa: B018 -- a batch without a store is refused before its input is read
        self._admission.update(self.served())
        return intake

    def _open_batch(self, intake: batching.Intake) -> batching.BatchHandle:
        batch = intake.batch()
        if not self._is_open(batch):
            self._store_batch(batch, intake)
        return batching.BatchHandle(self, self.ledger.open_batch(batch).batch_id)

    def _is_open(self, batch: BatchJob) -> bool:
        """Whether there is a batch of its key: then its lines are stored, or it conflicts."""
        try:
            return batch.idempotency_key is not None and bool(self.ledger.batch(batch.batch_id))
        except BatchNotFoundError:
            return False

    def _store_batch(self, batch: BatchJob, intake: batching.Intake) -> None:
        for sample in intake.samples():
            self.files.check([sample])
            self._keep(self._sealed.needed_by([sample]))
        self.ledger.note_batch(batch)
        try:
            background().run(batching.store(self.batch_files, batch, intake))
        except BaseException:
            background().run(batching.discard(self.batch_files, batch))
            with suppress(PalaverError):
                self.ledger.abandon_batch(batch)
            raise

    def _submit(self, job: ChatJob) -> JobHandle:
        with traced([job]) as (job,):
            self._admit([job])
            self.prepare()
            submitted = self.ledger.submit(job)
            self.send([submitted.dispatch])
            return self._handle(submitted)

    def _submit_all(self, jobs: Iterable[JobLike]) -> list[JobHandle]:
        prepared = prepare_many(numbered(jobs), self.settings)
        self._admit(prepared)
        work: Bulk[JobHandle] = Bulk(prepared)
        with ThreadPoolExecutor(len(work.lanes), "palaver-submit") as pool, work.within():
            driven = [pool.submit(copy_context().run, self._drive, work, lane) for lane in work.lanes]
            wait(driven)  # within: Ctrl-C ends the lanes too
        return work.end(lane.exception() for lane in driven)

    def _drive(self, work: Bulk[JobHandle], lane: list[int]) -> None:
        with work.within():
            for places, jobs in work.chunks(lane):
                work.take(places, self._submit_chunk(jobs))

    def _submit_chunk(self, jobs: list[ChatJob]) -> list[JobHandle | PalaverError]:
        with traced(jobs) as told:
            self.prepare()
            replies = self.ledger.submit_many(told)
            self.send(reply.dispatch for reply in replies if isinstance(reply, Submitted))
        return [self._handle(reply) if isinstance(reply, Submitted) else reply for reply in replies]

    def _handle(self, submitted: Submitted) -> JobHandle:
        return JobHandle(self, submitted.session_id, submitted.job_id, submitted.cursor)


def send_stored(broker: Broker, dispatches: Iterable[Dispatch | None], *, asked: float | None = None) -> None:
    """Send messages; if that fails, leave it to the sweep of a worker, which finds the jobs in the ledger."""
    due = [dispatch for dispatch in dispatches if dispatch is not None]
    try:
        broker.send(due, asked=asked)
    except (BrokerUnavailableError, BrokerFullError) as error:
        log.warning("dispatch_deferred jobs=%d first=%s: %s", len(due), due[0].job_id, error)


def _sender(broker: Broker) -> SendNow:
    # Without the client: its readers must not keep it alive.
    return lambda dispatches: send_stored(broker, dispatches)


def _close(ledger: SyncLedger, broker: Broker) -> None:
    broker.close()
    ledger.close()
