"""A worker process without Celery: everything that runs jobs, built on one event loop, drained and closed
there.

Make it after any fork. The Celery tasks call `run`; a program of its own could as well.
"""

from __future__ import annotations

import asyncio
import os
import platform

from palaver.shared.errors import JobCancelledError, LedgerUnavailableError, PalaverError
from palaver.shared.health import Health
from palaver.shared.ledger import Canary, Dispatch, operations
from palaver.shared.names import Queue
from palaver.shared.profiles import Catalog
from palaver.shared.settings import Settings
from palaver.shared.stores.archives import open_archive
from palaver.workers.archiver import check_archive
from palaver.workers.bounding import Bounding
from palaver.workers.chores import chores
from palaver.workers.control import Control, Heeding
from palaver.workers.ending import Outcome
from palaver.workers.event_log import event_logger
from palaver.workers.http import HttpClient
from palaver.workers.lending import Lending, Make
from palaver.workers.presence import Presence
from palaver.workers.probing import examine
from palaver.workers.process import Alone, Host, Process
from palaver.workers.providers import create
from palaver.workers.readiness import CanaryPost, Readiness
from palaver.workers.rounds import Background, within
from palaver.workers.sealed import SealedProfiles
from palaver.workers.served import Served
from palaver.workers.sideline import Sideline
from palaver.workers.stop import HandOver, asked_to_end
from palaver.workers.sweeper import Post
from palaver.workers.tracing import tracing_of
from palaver.workers.vitals import Vitals
from palaver.workers.workshop import Workshop

__all__ = ["WorkerService"]

logger = event_logger("palaver.workers.service")

HAND_OVER_SECONDS = 5.0  # for the jobs that are handed over to be written off
ENDING_SECONDS = 1.0  # for those that are left to their leases
LAST_WORDS_SECONDS = 6.0  # for what others are still to hear
SPENT_SECONDS = 2.0  # for what was spent to be counted
FORLORN_SECONDS = 0.5  # for that when the ledger has heard nothing for some time
RENEWAL_SECONDS = 1.0  # between two looks at the files of the configuration


class WorkerService:
    """Runs jobs. `name` is the worker's in every list, `slots` how many jobs it takes at once, `make` makes
    the providers.

    In the ledger it has the name of this one life, `alias`: a worker that died is not to be taken for the one
    that was started in its place under the same name.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog | None = None,
        *,
        name: str | None = None,
        slots: int | None = None,
        make: Make = create,
        host: Host | None = None,
    ) -> None:
        self.settings = settings
        self._process = process = Process.of(
            settings,
            name=name or f"palaver@{platform.node()}-{os.getpid()}",
            slots=settings.concurrency if slots is None else slots,
            host=host or Alone(),
        )
        self.ledger, self._link = process.ledger, process.link
        self._running, self._counts = process.running, process.counts
        self._archive = open_archive(self.ledger)
        self._tracing = tracing = tracing_of(settings, self.name)
        sealed = SealedProfiles(settings, self.ledger)
        self._served = served = Served(settings, Lending(HttpClient(), make), sealed, catalog)
        self._bounding = bounding = Bounding(process, served)
        self._workshop = workshop = Workshop(process, served=served, bounding=bounding, tracing=tracing)
        self._vitals = vitals = Vitals(
            process, runner=workshop.runner, leases=workshop.leases, breakers=bounding.breakers
        )
        self._presence = Presence(process, served=served, bounding=bounding, workshop=workshop, vitals=vitals)
        self._background = Background()
        self._sideline = Sideline(settings, self._counts)

    @property
    def name(self) -> str:
        """The worker's in every list."""
        return self._process.name

    @property
    def alias(self) -> str:
        """The worker's in the ledger."""
        return self._process.alias

    @property
    def slots(self) -> int:
        """How many jobs it takes at once; may be set while it runs."""
        return self._running.slots

    @slots.setter
    def slots(self, slots: int) -> None:
        self._running.slots = slots

    @property
    def running(self) -> int:
        """How many jobs are being run."""
        return len(self._running)

    @property
    def cut_off(self) -> bool:
        """Whether the ledger does not answer: what this worker takes from the broker it cannot claim. From
        any thread.
        """
        return not self._link.connected or self._workshop.leases.unconfirmed > self.settings.lease_seconds

    @property
    def readiness(self) -> Readiness:
        """Whether it does its work."""
        return self._vitals.readiness

    @property
    def profiles(self) -> list[str]:
        """The profiles that it serves."""
        return self._served.profiles

    async def start(self, *, announce: bool = True) -> None:
        """Connect. Raises LedgerUnavailableError within 3 seconds, and ConfigurationError when the archive of
        conversations cannot be used as it is; one that does not answer is waited for. What raises has closed
        the worker.

        With `announce` the worker is said to serve at once; without, `serve` says it later.
        """
        try:
            await self._start()
            if announce:
                await self.serve()
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        self._served.warn()
        self._link.on_dead = self._end_with_link
        await self._link.start()
        await check_archive(self._archive, worker=self.name)
        await self._workshop.answering.start()
        await self._bounding.pauses.refresh()
        self._background.begin("pulse", self._vitals.pulse.run)
        self._vitals.show()
        self._background.begin("leases", self._workshop.leases.run)
        self._background.begin("control", self._make_control().run)
        self._background.begin("pauses", self._bounding.pauses.run)

    async def serve(self, post: Post | None = None) -> None:
        """Announce the worker, once it consumes. With a `post` it also takes its turns at sweeping: what died
        with another worker, or was never sent, goes on; at archiving, and at removing old batches.
        """
        self.readiness.serving = True
        await self._presence.announce()
        self._background.begin("heartbeat", self._presence.beat)
        self._background.begin("configuration", self._watch_configuration)
        if post is not None:
            self._bounding.send_by(post)
            self._sideline.sweep(post)
            for name, chore in chores(self.ledger, archive=self._archive):
                self._background.begin(name, chore)

    def watch(self, post: CanaryPost) -> None:
        """Be ready only while work is seen to be done."""
        self.readiness.watch = self._sideline.watch(post, lambda: self._running.draining)

    async def run(self, session_id: str, job_id: str, *, queue: str = "") -> Outcome:
        """Run a job that a message of this queue named. What it returns may hold a message to send,
        `Outcome.dispatch`.

        Cancelling the task that awaits this ends the job as cancelled, with its `stream_end`.
        """
        if self._running.draining:
            again = Dispatch(session_id, job_id, Queue.RESUME)
            return Outcome(
                session_id=session_id, job_id=job_id, status=None, reason="draining", dispatch=again
            )
        with self._running.work(job_id) as stop:
            return await self._workshop.runner.run(session_id, job_id, stop, queue=queue)

    async def cancel(self, session_id: str, job_id: str) -> Outcome:
        """End a job that no worker has, or have its worker end it."""
        became = await self.ledger.cancel(session_id, job_id)
        return Outcome(session_id=session_id, job_id=job_id, status=became.status, dispatch=became.dispatch)

    async def drive(self, batch_id: str) -> str:
        """Work on a batch, until nothing of it is left to do here; what became of it, or why it is not
        driven. What a worker leaves undone a sweep gives to another one.
        """
        if self._running.draining:
            return "draining"
        with self._running.work(batch_id) as stop:
            return await self._workshop.drivers.drive(batch_id, stop)

    async def probe(self, probe_id: str, profile: str, model: str | None) -> Health:
        """Find out how a provider is, and tell it in the ledger to whoever waits under this id."""
        health = await examine(self._served, profile, model, worker=self.name)
        await self.ledger.query(operations.answer_probe(self.ledger.keys, probe_id, health.to_json()))
        return health

    async def take(self, canary: Canary) -> None:
        """Say that this worker was given it."""
        await self.ledger.run(operations.take_canary(self.ledger.keys, canary))

    def end(self, job_id: str, reason: PalaverError | None = None) -> bool:
        """End a job that runs here for this reason (default: it was cancelled); False if it does not run
        here.

        The class of the reason decides how: JobCancelledError, JobExpiredError, or any other for `failed`.
        """
        return self._running.stop(job_id, reason or JobCancelledError(job_id=job_id))

    def begin_drain(self) -> None:
        """Take no more jobs from now on, and tell everybody. What runs goes on."""
        if not self._running.draining:
            self._running.draining = True
            self._background.begin_once("last-words", self._presence.announce())

    async def drain(self, seconds: float | None = None) -> None:
        """Take no more jobs, let streams finish for so long (default: the settings'), then hand the rest
        over.

        Called again with 0, it hands over at once. Returns when nothing runs any more.
        """
        self._running.draining = True
        patience = self.settings.drain_seconds if seconds is None else seconds
        logger.info("worker.draining", worker=self.name, jobs=self.running, seconds=patience)
        if not await self._running.idle(patience):
            self._running.stop_all(HandOver("The worker stops; another one goes on with the job."))
            await self._running.idle(HAND_OVER_SECONDS)

    async def close(self) -> None:
        """Stop everything. Jobs that still run are left to their leases: call `drain` before."""
        answered = not self.running and not self.cut_off
        await self._background.aclose()
        await self._bounding.starts.aclose()
        seconds = LAST_WORDS_SECONDS if answered else FORLORN_SECONDS
        await self._bounding.budgets.told(min(seconds, SPENT_SECONDS))
        self._workshop.leases.give_up(LedgerUnavailableError("The worker stopped before Redis was told."))
        await self._link.stop()
        await self._running.idle(ENDING_SECONDS)
        await self._bounding.budgets.aclose()
        await within(seconds, [self._presence.withdraw(), self._workshop.sinks.aclose()])
        await self._sideline.aclose()
        await self._process.subscriptions.aclose()
        await self._vitals.aclose()
        await self._workshop.answering.aclose()
        await self._served.aclose()
        await self._archive.aclose()
        await self.ledger.aclose()
        await self._tracing.aclose()

    def _make_control(self) -> Control:
        heeding: Heeding = {
            "cancel": lambda said: self.end(said["job_id"], asked_to_end(said["mode"], said["job_id"])),
            "batch": lambda _: self._workshop.leases.renew_now(),
            **self._bounding.heeding,
            "drain": lambda said: self._heed_drain(said["worker"], said["by"]),
        }
        channel = self.ledger.keys.control
        return Control(self._process.subscriptions, channel, heeding=heeding, missed=self._look_again)

    def _look_again(self) -> None:
        """What was missed while not subscribed is in the next renewal's replies."""
        self._workshop.leases.renew_now()
        self._bounding.pauses.look_again()

    def _heed_drain(self, worker: str, by: str) -> None:
        # asked again, it hands over no sooner
        if worker in (self.name, self.alias) and not self._running.draining:
            logger.warning("worker.drain_asked", worker=self.name, by=by, jobs=self.running)
            self.begin_drain()
            self._process.host.leave()

    def _end_with_link(self) -> None:
        """Not every supervisor asks /healthz. Others have its jobs as soon as its leases have run out."""
        logger.critical("worker.link_dead", worker=self.name, jobs=self.running)
        self.begin_drain()
        self._process.host.fail()

    async def _watch_configuration(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            has_news = self._bounding.tenancy.renew()
            await self._workshop.answering.renew()
            if await self._served.renew() or has_news:
                await self._presence.announce()
