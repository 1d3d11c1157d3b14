"""The page of live streams, its data and its button. The data are the ledger's: ids, models and sizes. No
worker is asked: one that hangs hides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final, TypeVar

from flower import urls  # type: ignore[import-untyped]
from flower.api import BaseApiHandler  # type: ignore[import-untyped]
from flower.views import BaseHandler  # type: ignore[import-untyped]
from prometheus_client import Counter
from tornado import web

from palaver.shared.batches import BatchView
from palaver.shared.errors import JobGoneError, PalaverError
from palaver.shared.ids import valid_job_id, valid_session_id
from palaver.shared.ledger import Dispatch, SyncLedger
from palaver.shared.ledger.replies import Place
from palaver.shared.ledger.sighting import Sighted
from palaver.shared.settings import Settings
from palaver.workers.flower_pages.looks import Looks
from palaver.workers.flower_pages.quiet import quieten
from palaver.workers.flower_pages.templates import templates_beside
from palaver.workers.pool.post import Post

__all__ = ["install"]

T = TypeVar("T")

MOST: Final = 500
"""Streams on the page, the oldest first. It keeps those that it has shown for as long as they run."""

CANCELS: Final = Counter("palaver_flower_cancels", "Uses of the page's button, by its answer.", ["result"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A row of the page. Ages in seconds; `written` in bytes."""

    session_id: str
    job_id: str
    model: str
    worker: str
    attempt: int
    age: float
    written: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch that has not ended."""

    batch_id: str
    status: str
    done: int
    failed: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the page shows: there are `running` streams, on so many `workers`; of many, some are listed."""

    running: int
    workers: int
    streams: list[Stream]
    batches: list[Batch]


def install() -> None:
    """Add the page to Flower, once, and have it say no more than it has to."""
    if any(getattr(handler, "name", None) == "streams" for handler in urls.handlers):
        return
    quieten()
    urls.settings["template_loader"] = templates_beside(urls.settings)
    urls.handlers[:0] = [
        web.url(r"/streams", StreamsPage, name="streams"),
        web.url(r"/streams/data", StreamsData, name="streams_data"),
        web.url(r"/streams/cancel", StreamsCancel, name="streams_cancel"),
    ]


@cache
def _ledger() -> SyncLedger:
    return SyncLedger(Settings.load())


async def _answered(answer: Awaitable[T]) -> T:
    """What the ledger says. A page is told why it does not."""
    try:
        return await answer
    except PalaverError as error:
        raise web.HTTPError(error.status_code or 503, str(error)) from None


class _Told:
    """A handler whose errors are JSON too."""

    def write_error(self: Any, status_code: int, **kwargs: Any) -> None:
        """See `tornado.web.RequestHandler`."""
        _, error, _ = kwargs.get("exc_info", (None, None, None))
        told = error.log_message if isinstance(error, web.HTTPError) else None
        self.finish({"error": told or f"HTTP {status_code}"})


class StreamsPage(BaseHandler):  # type: ignore[misc]
    """The page itself."""

    @web.authenticated
    def get(self) -> None:
        """Without data, which it asks for."""
        self.render("streams.html", read_only=bool(self.application.options.read_only))


class StreamsData(_Told, BaseHandler):  # type: ignore[misc]
    """What the page shows."""

    @web.authenticated
    async def get(self) -> None:
        """Streams and batches."""
        self.write(asdict(await _answered(_looks().latest())))


class StreamsCancel(_Told, BaseApiHandler):  # type: ignore[misc]
    """The button. Whoever may use Flower's API may use it."""

    @web.authenticated
    async def post(self) -> None:
        """End a job, with its text so far."""
        if self.application.options.read_only:
            raise web.HTTPError(403, "this Flower is read-only")
        if self.request.headers.get("X-Palaver") != "cancel":
            raise web.HTTPError(403, "only this page's button may do that")  # no other site can send it
        session_id, job_id = self.get_argument("session_id", ""), self.get_argument("job_id", "")
        if not (valid_session_id(session_id) and valid_job_id(job_id)):
            raise web.HTTPError(400, "session_id and job_id must name a job")
        status, dispatch = await _answered(asyncio.to_thread(_cancel, session_id, job_id))
        if dispatch is not None:
            await _post(self.capp).send([dispatch])
        CANCELS.labels(status).inc()
        self.write({"status": status})


@cache
def _looks() -> Looks[Shown]:
    """One for all tabs: under a backlog a look asks a lot of the Redis that streams need."""
    return Looks(_now)


_last: list[Place] = []
"""The jobs that the page has shown last."""


def _now() -> Shown:
    ledger = _ledger()
    found = ledger.running_jobs(MOST, before=_last)
    jobs = sorted(found.jobs, key=lambda job: job.started or found.time)
    _last[:] = [(job.session_id, job.job_id) for job in jobs]
    loads = [worker.data.get("running", 0) - worker.data.get("batches", 0) for worker in ledger.workers()]
    return Shown(
        running=len(jobs) if found.whole else max(len(jobs), sum(loads)),
        workers=len({job.worker for job in jobs}) if found.whole else sum(load > 0 for load in loads),
        streams=[_stream(job, found.time) for job in jobs],
        batches=[_batch(view) for view in ledger.open_batches()],
    )


def _stream(job: Sighted, now: float) -> Stream:
    return Stream(
        session_id=job.session_id,
        job_id=job.job_id,
        model=job.model,
        worker=job.worker.rpartition("/")[0] or job.worker,
        attempt=job.attempt,
        age=max(0.0, now - (job.started or now)),
        written=job.written,
    )


def _batch(view: BatchView) -> Batch:
    return Batch(
        batch_id=view.batch.batch_id,
        status=str(view.status),
        done=view.counts.done,
        failed=view.counts.failed,
        total=view.counts.total,
    )


def _cancel(session_id: str, job_id: str) -> tuple[str, Dispatch | None]:
    try:
        cancelled = _ledger().cancel(session_id, job_id)
    except JobGoneError:
        return "gone", None
    return str(cancelled.status) if cancelled.ended else "asked", cancelled.dispatch


@cache
def _post(celery: Any) -> Post:
    """For the next job of a session; a sweep sends what is lost here."""
    return Post(celery)
