"""Tells the ledger which jobs are begun here, and has those sent whose turn it is by that: where a queue is
long, its messages alone would have one tenant wait for all that another has submitted before.

Posted, and never waited for. A job that names nobody, in a worker with free slots and a queue without a
backlog, costs nothing here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from palaver.shared.errors import PalaverError
from palaver.shared.ids import new_token
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Claimed, Dispatch, operations
from palaver.shared.ledger.replies import BACKLOG_SECONDS
from palaver.workers.event_log import event_logger
from palaver.workers.process import Process
from palaver.workers.tenancy import Tenancy

__all__ = ["Starts"]

logger = event_logger("palaver.workers.starts")

PAUSE_SECONDS: Final = 0.02
"""While nobody is known to wait, what is begun within such a time is told together."""


class Starts:
    """The jobs that one worker process begins."""

    def __init__(self, process: Process, tenancy: Tenancy) -> None:
        self._link = process.link
        self._keys = process.ledger.keys
        self._running = process.running  # the job among them that begins
        self._worker = process.alias
        self._tenancy = tenancy
        self._begun: list[operations.Start] = []
        self._backlog = False
        self._others = False  # somebody stood in a line when that was told last
        self._telling: asyncio.Task[None] | None = None
        self.send: Callable[[Sequence[Dispatch]], object] = len
        """Has messages sent. What nobody sends waits for its own message."""

    def note(self, claimed: Claimed, job: ChatJob) -> None:
        """A run of the job begins."""
        first = claimed.attempt == 1
        full = len(self._running) >= self._running.slots
        backlog = first and (full or (claimed.waited or 0.0) >= BACKLOG_SECONDS)
        if not backlog and not operations.takes_turns(job):
            return
        self._backlog |= backlog
        place, tenant = (claimed.session_id, claimed.job_id), self._tenancy.of(job.tenant)
        queue = tenant.queue_for(job.priority)
        self._begun.append(
            operations.Start(place=place, job=job, queue=queue, weight=tenant.weight, first=first)
        )
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell(), name="palaver-starts")

    async def aclose(self) -> None:
        """Tell no more. What was begun and not told stands in its line until it is sent, for nothing."""
        if self._telling is not None:
            self._telling.cancel()
            with suppress(asyncio.CancelledError):
                await self._telling

    async def _tell(self) -> None:
        try:
            while self._begun:
                if not self._others:
                    await asyncio.sleep(PAUSE_SECONDS)
                begun, self._begun = self._begun, []
                backlog, self._backlog = self._backlog, False
                told = await self._link.run(
                    operations.note_begun(
                        self._keys, begun, worker=self._worker, token=new_token(), are_waiting=backlog
                    )
                )
                self._others = backlog and told.waiting > 0
                if told.dispatches:
                    self.send(told.dispatches)
        except PalaverError as error:
            logger.warning("starts.not_told", error=error.type)
        finally:
            self._telling = None
