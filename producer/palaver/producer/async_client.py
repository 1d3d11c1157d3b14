"""The client of programs with an event loop."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import date
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, Unpack, overload

from pydantic import BaseModel

from palaver.producer import batches as batching
from palaver.producer.broker import Broker
from palaver.producer.bulk import Bulk
from palaver.producer.client import send_stored
from palaver.producer.files import AsyncFiles
from palaver.producer.handles import AsyncJobHandle, AsyncModelHandle
from palaver.producer.prepare import (
    Admission,
    AllowJob,
    Announced,
    JobFields,
    JobLike,
    agent_paths,
    announced,
    as_given,
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
from palaver.shared.beside import beside, in_thread
from palaver.shared.errors import BatchNotFoundError, PalaverError
from palaver.shared.health import Health
from palaver.shared.ids import check_job_id, check_session_id
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import DeadLetter, Dispatch, JobView, Submitted
from palaver.shared.messages import MessagesLike
from palaver.shared.one_thread import OneThread
from palaver.shared.reader_tokens import DEFAULT_SECONDS, make_reader_token
from palaver.shared.responses import ChatResponse, ModelResponse
from palaver.shared.settings import Settings
from palaver.shared.spending import DailyUsage, MonthlySpending

if TYPE_CHECKING:  # as in `client`
    from palaver.producer.hub import Hub
    from palaver.producer.reading import Reading
    from palaver.shared.batches import BatchJob
    from palaver.shared.events import AnyEvent
    from palaver.shared.ledger import AsyncLedger

M = TypeVar("M", bound=BaseModel)

AT_ONCE: Final = 100
"""Of many jobs so many are prepared beside the loop before others have their turn there."""


class AsyncClient:
    """`Client` with `await` and `async for`: same arguments, same errors, nothing blocks the event loop.

    All clients of one event loop with the same settings share its connections. Close it, or use it in
    `async with`.
    """

    def __init__(self, settings: Settings | None = None, **values: Any) -> None:
        self.settings = settings or Settings.load(**values)
        self.broker = Broker.of(self.settings)
        self.files = AsyncFiles(self.settings)
        self._admission = Admission(own_catalog(self.settings))
        self._sealed = SealedProfiles(self.settings)
        # Weak also where the values are: a hub knows its loop, and who held it beyond that would keep both.
        self._hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Hub]] = (
            weakref.WeakKeyDictionary()
        )
        # kombu has no asyncio: one thread serves this client's messages, in order.
        self._thread = OneThread("palaver-broker")

    @property
    def ledger(self) -> AsyncLedger:
        """The ledger, on the running loop."""
        return self._hub.ledger

    @property
    def reading(self) -> Reading:
        """The readers of the running loop."""
        from palaver.producer.reading import Reading

        return Reading(self._hub, self.send)

    @overload
    async def submit(
        self,
        messages: MessagesLike,
        *,
        wait: Literal[False] = False,
        timeout: float | None = None,  # noqa: ASYNC109 -- as in the blocking client
        **fields: Unpack[JobFields],
    ) -> AsyncJobHandle: ...

    @overload
    async def submit(
        self,
        messages: MessagesLike,
        *,
        wait: Literal[True],
        timeout: float | None = None,  # noqa: ASYNC109 -- as in the blocking client
        **fields: Unpack[JobFields],
    ) -> ChatResponse: ...

    @overload
    async def submit(
        self,
        messages: MessagesLike,
        *,
        response_model: type[M],
        wait: Literal[False] = False,
        timeout: float | None = None,  # noqa: ASYNC109 -- as in the blocking client
        **fields: Unpack[JobFields],
    ) -> AsyncModelHandle[M]: ...

    @overload
    async def submit(
        self,
        messages: MessagesLike,
        *,
        response_model: type[M],
        wait: Literal[True],
        timeout: float | None = None,  # noqa: ASYNC109 -- as in the blocking client
        **fields: Unpack[JobFields],
    ) -> ModelResponse[M]: ...

    async def submit(
        self,
        messages: MessagesLike,
        *,
        response_model: type[BaseModel] | None = None,
        wait: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 -- as in the blocking client
        **fields: Unpack[JobFields],
    ) -> AsyncJobHandle | ChatResponse:
        """Store a job and tell the workers of it; see `Client.submit`."""
        check_timeout(timeout)
        prepared = partial(prepare, messages, self.settings, fields, response_model)
        job = await beside(prepared, [messages, fields])
        handle = await self._submit(job)
        if response_model is not None:
            handle = AsyncModelHandle(self, handle.session_id, handle.job_id, handle.cursor, response_model)
        return await handle.result(timeout) if wait else handle

    async def submit_many(self, jobs: Iterable[JobLike]) -> list[AsyncJobHandle]:
        """Store many jobs, many times faster than one by one; see `Client.submit_many`."""
        with collector.paused():
            return await self._submit_all(jobs)

    async def batch(
        self,
        jobs: batching.BatchSource,
        *,
        skip_invalid: bool = False,
        allow: AllowJob | None = None,
        **fields: Unpack[batching.BatchFields],
    ) -> batching.AsyncBatchHandle:
        """Store many jobs as one batch; see `Client.batch`. A file is read in a thread."""
        with await self._intake(fields, allow=allow, skip_invalid=skip_invalid) as intake:
            await batching.take_all(intake, jobs, self.settings.max_document_bytes)
            return await self._open_batch(intake)

    async def batches(self, batch_id: str) -> batching.AsyncBatchHandle:
        """The handle of a batch that anybody opened. Raises BatchNotFoundError."""
        check_session_id(batch_id, param="batch_id")
        await self.ledger.batch(batch_id)
        return batching.AsyncBatchHandle(self, batch_id)

    async def retry_batch(self, batch_id: str) -> batching.AsyncBatchHandle:
        """Do what has no answer again; see `BatchHandle.retry_failed`."""
        view = await self.ledger.batch(batch_id)
        with await self._intake(batching.fields_again(view)) as intake:
            async with aclosing(batching.unanswered(self.ledger, self.batch_files, view.batch)) as slices:
                async for lines in slices:
                    await in_thread(partial(intake.take, lines))
            return await self._open_batch(intake)

    @cached_property
    def batch_files(self) -> stores.BatchFiles:
        """Where the lines and the results of batches are. Raises ConfigurationError."""
        return stores.BatchFiles.of(self.settings)

    async def job(self, job_id: str) -> AsyncJobHandle:
        """The handle of a job that anybody submitted. Raises JobNotFoundError."""
        check_job_id(job_id)
        view = await self.view(job_id)
        return AsyncJobHandle(self, view.session_id, job_id, view.cursor)

    async def view(self, job_id: str, session_id: str | None = None, *, document: bool = False) -> JobView:
        """The job as it is now; see `Client.view`."""
        return await self.reading.view(job_id, session_id, document=document)

    async def retry(self, job_id: str, *, allow: AllowJob | None = None) -> AsyncJobHandle:
        """Do an ended job again, as a new job in the same session; see `Client.retry`."""
        check_job_id(job_id)
        view = await self.view(job_id, document=True)
        again = partial(prepare_again, view, self.settings, allow)
        handle = await self._submit(await beside(again, view.document_json or b""))
        await self.ledger.drop_dead([(view.session_id, job_id)])
        return handle

    async def dead(self, limit: int | None = None) -> list[DeadLetter]:
        """The dead letters: jobs that failed or expired; see `Client.dead`."""
        await self.expire_all()
        return await self.ledger.dead(limit)

    async def usage(
        self, *, since: date | None = None, until: date | None = None, tenant: str | None = None
    ) -> list[DailyUsage]:
        """What was spent, by day, tenant and model; see `Client.usage`."""
        first, last = period(since, until)
        return await self.ledger.usage(since=first, until=last, tenant=tenant)

    async def spending(self, tenant: str | None = None) -> MonthlySpending:
        """What a tenant has spent in this month, and may; see `Client.spending`."""
        return await self.ledger.spending(tenant)

    def seal(self, table: Mapping[str, Any]) -> str:
        """The name of a profile that no `palaver.toml` has; see `Client.seal`."""
        return self._sealed.add(table)

    async def reader_token(
        self, session_id: str, *, tenant: str | None = None, seconds: float = DEFAULT_SECONDS
    ) -> str:
        """A token for a browser, to read one session; see `Client.reader_token`."""
        check_session_id(session_id)
        born = await self.ledger.born(session_id)
        return make_reader_token(
            self.settings, session_id, tenant=tenant, born=born, seconds=seconds, now=time.time()
        )

    async def expire_all(self) -> None:
        """End the jobs past their deadline that no worker sees to; see `Client.expire_all`."""
        await self.send(await self.ledger.expire_all())

    def events(self, session_id: str, after: int = 0) -> AsyncGenerator[AnyEvent, None]:
        """All events of a session with a `seq` above `after`, live and without end; see `Client.events`."""
        check_session_id(session_id)
        check_after(after)
        return self.reading.events(session_id, after)

    async def check(self) -> None:
        """One round trip to the ledger and one to the broker."""
        await self.ledger.check()
        await self._in_turn(self.broker.check)

    async def prepare(self) -> None:
        """Make sure that a job could be sent now; asks the broker only if it did not answer a moment ago."""
        if not self.broker.trusted:
            await self._in_turn(self.broker.prepare)

    async def served(self) -> Announced:
        """The profiles and aliases of live workers, by name; see `Client.served`."""
        return announced(await self.ledger.announced_profiles())

    async def agents(self) -> list[str]:
        """The paths of the agents of live workers; see `Client.agents`."""
        return [agent.name for agent in await self.ledger.announced_agents()]

    async def probe(
        self,
        profile: str,
        model: str | None = None,
        *,
        timeout: float = PROBE_SECONDS,  # noqa: ASYNC109 -- as in the blocking client
    ) -> Health:
        """Have a worker ask a provider: does it answer, and has it this model? See `Client.probe`."""
        message = probe_message(profile, model, timeout)
        await self._keep(sealed_for(profile, timeout))
        await self._in_turn(partial(self.broker.post, [message]))
        answer = await self.reading.answer(message.task_id, timeout)
        if answer is None:
            raise no_worker(timeout)
        return health_of(answer)

    async def send(self, dispatches: Iterable[Dispatch | None]) -> None:
        """Send messages of jobs that are stored already; a broker that fails now only delays them."""
        due = [dispatch for dispatch in dispatches if dispatch is not None]
        if due:
            await self._in_turn(partial(send_stored, self.broker, due))

    async def close(self) -> None:
        """Close this client's connections. Once no client of its settings is left on this loop, what still
        reads there ends with a LedgerUnavailableError. May be called twice; the next use opens others.
        """
        await self.leave()
        await asyncio.to_thread(self.broker.close)
        self._thread.close()

    async def leave(self) -> None:
        """Close what this client has on the running loop; its use on others goes on."""
        hub = self._own_hub()
        if hub is not None:
            del self._hubs[asyncio.get_running_loop()]
            await hub.release()

    aclose = close
    """The name that `contextlib.aclosing` asks for."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    @property
    def _hub(self) -> Hub:
        hub = self._own_hub()
        if hub is None:
            from palaver.producer.hub import Hub

            hub = Hub.acquire(self.settings)
            self._hubs[asyncio.get_running_loop()] = weakref.ref(hub)
        return hub

    def _own_hub(self) -> Hub | None:
        known = self._hubs.get(asyncio.get_running_loop())
        return None if known is None else known()

    async def _in_turn(self, call: Callable[..., None]) -> None:
        """Call it on the broker's thread; it is told since when its caller waits."""
        await self._thread.run(partial(call, asked=time.monotonic()))

    async def _admit(self, jobs: Sequence[ChatJob]) -> None:
        await self.files.check(jobs)
        for _ in self._admission.rounds(jobs):
            self._admission.update(await self.served())
        if paths := agent_paths(jobs):
            check_agents(paths, await self.agents())
        await self._keep(self._sealed.needed_by(jobs))

    async def _keep(self, lives: Mapping[str, float]) -> None:
        """Have the ledger hold these sealed profiles for so many seconds."""
        if lives:
            kept = await self.ledger.run_many(self._sealed.keeping(self.ledger.keys, lives))
            check_kept(lives, kept)

    async def _intake(self, fields: Mapping[str, Any], **taking: Any) -> batching.Intake:
        intake = batching.Intake(self.settings, fields, self._admission.check, **taking)
        self.batch_files  # noqa: B018 -- a batch without a store is refused before its input is read
        self._admission.update(await self.served())
        return intake

    async def _open_batch(self, intake: batching.Intake) -> batching.AsyncBatchHandle:
        batch = intake.batch()
        if not await self._is_open(batch):
            await self._store_batch(batch, intake)
        return batching.AsyncBatchHandle(self, (await self.ledger.open_batch(batch)).batch_id)

    async def _is_open(self, batch: BatchJob) -> bool:
        """Whether there is a batch of its key: then its lines are stored, or it conflicts."""
        try:
            return batch.idempotency_key is not None and bool(await self.ledger.batch(batch.batch_id))
        except BatchNotFoundError:
            return False

    async def _store_batch(self, batch: BatchJob, intake: batching.Intake) -> None:
        for sample in intake.samples():
            await self.files.check([sample])
            await self._keep(self._sealed.needed_by([sample]))
        await self.ledger.note_batch(batch)
        try:
            await batching.store(self.batch_files, batch, intake)
        except BaseException:
            await batching.discard(self.batch_files, batch)
            with suppress(PalaverError):
                await self.ledger.abandon_batch(batch)
            raise

    async def _submit(self, job: ChatJob) -> AsyncJobHandle:
        with traced([job]) as (job,):
            await self._admit([job])
            await self.prepare()
            submitted = await self.ledger.submit(job)
            await self.send([submitted.dispatch])
            return self._handle(submitted)

    async def _submit_all(self, jobs: Iterable[JobLike]) -> list[AsyncJobHandle]:
        prepared: list[ChatJob] = []
        given = ((index, as_given(job)) for index, job in numbered(jobs))
        while some := list(islice(given, AT_ONCE)):  # here: what gives them may belong to this thread
            prepared += await in_thread(partial(prepare_many, some, self.settings))
        await self._admit(prepared)
        work: Bulk[AsyncJobHandle] = Bulk(prepared)
        driven = (self._drive(work, lane) for lane in work.lanes)
        return work.end(await asyncio.gather(*driven, return_exceptions=True))

    async def _drive(self, work: Bulk[AsyncJobHandle], lane: list[int]) -> None:
        with work.within():
            for places, jobs in work.chunks(lane):
                work.take(places, await self._submit_chunk(jobs))

    async def _submit_chunk(self, jobs: list[ChatJob]) -> list[AsyncJobHandle | PalaverError]:
        with traced(jobs) as told:
            await self.prepare()
            replies = await self.ledger.submit_many(told)
            await self.send([reply.dispatch for reply in replies if isinstance(reply, Submitted)])
        return [self._handle(reply) if isinstance(reply, Submitted) else reply for reply in replies]

    def _handle(self, submitted: Submitted) -> AsyncJobHandle:
        return AsyncJobHandle(self, submitted.session_id, submitted.job_id, submitted.cursor)
