"""A worker's turns at webhooks: how jobs and batches ended is told to whoever wants to know, whoever ended
them.

What is to be told, and when it is tried again, is in the ledger. Any worker may die at any step; a receiver
may then be told twice, under the same id.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from palaver.shared.errors import JobNotFoundError, PalaverError
from palaver.shared.ledger import AsyncLedger, operations
from palaver.shared.webhooks import tenant_secret
from palaver.workers.event_log import event_logger
from palaver.workers.frames import report
from palaver.workers.rounds import Rounds
from palaver.workers.webhooks.calls import Answer, Calls
from palaver.workers.webhooks.ends import End, end_of
from palaver.workers.webhooks.notice import headers_for
from palaver.workers.webhooks.places import Places

__all__ = ["Deliverer"]

logger = event_logger("palaver.workers.webhooks")

PERIOD_SECONDS: Final = 0.5
AT_ONCE: Final = 200
OF_ONE_TENANT: Final = 50
ROWS: Final = 2
"""So many requests, one after the other, may be waited for at a host; a webhook that would wait longer comes
back.
"""
FULL_SECONDS: Final = 1.0
"""After so long, which is no try."""
TURNED_AWAY_SECONDS: Final = 0.1
"""So long it still has a place of its tenant's: else thousands for a slow host are looked at all the time."""
SLACK_SECONDS: Final = 15.0
"""Beside the requests, for what is read and noted in the ledger."""
UNENDED_SECONDS: Final = (60.0, 600.0)
"""A job that goes on is looked at again when it is twice as old, but within these; its end hurries that."""
PAUSES: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0)
"""Before each further try, in seconds; three quarters to all of it. Sixteen hours together."""
DELIVERED, GIVEN_UP = "delivered", "given up"


class Deliverer:
    """Delivers the webhooks of `ledger` by `calls`; each of the `secrets` makes a key for each tenant."""

    def __init__(
        self,
        ledger: AsyncLedger,
        calls: Calls,
        *,
        secrets: Sequence[bytes],
        pauses: Sequence[float] = PAUSES,
        period: float = PERIOD_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._calls = calls
        self._secrets = secrets
        self._pauses = pauses
        # Nobody else is given a webhook that somebody has taken, while its requests may last.
        self._taken = (ROWS + 1) * calls.seconds + SLACK_SECONDS
        self._places = Places(rows=ROWS)
        self._running: set[asyncio.Task[None]] = set()
        self._of_tenants: Counter[str] = Counter()  # of those that run
        self._period = period
        self._rounds = Rounds("palaver.workers.webhooks", "webhooks.failed", period=period)

    async def run(self) -> None:
        """Deliver until cancelled. An outage of the ledger is waited out."""
        async with self._calls, asyncio.TaskGroup() as deliveries:
            await self._rounds.run(lambda: self._round(deliveries))

    async def _round(self, deliveries: asyncio.TaskGroup) -> bool:
        """Take as many of what is due as there is room for; whether there is more."""
        running = self._running
        taking = operations.take_webhooks(
            self._ledger.keys,
            seconds=self._taken,
            limit=AT_ONCE - len(running),
            of_one_tenant=OF_ONE_TENANT,
            running=self._of_tenants,
        )
        taken = await self._ledger.run(taking)
        for place, tenant in taken.webhooks:
            self._of_tenants[tenant] += 1
            delivery = deliveries.create_task(self._see_to(*place))
            running.add(delivery)
            delivery.add_done_callback(partial(self._is_done, tenant))
        if taken.left and running:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED, timeout=self._period)
        return taken.left

    def _is_done(self, tenant: str, delivery: asyncio.Task[None]) -> None:
        self._running.discard(delivery)
        self._of_tenants[tenant] -= 1
        self._of_tenants += Counter()  # drops those of which none runs

    async def _see_to(self, session_id: str, job_id: str) -> None:
        """One look at one job; what fails of it comes up again when the time of taking it is over."""
        try:
            await self._look(session_id, job_id)
        except PalaverError as error:
            self._rounds.tell(error)
        except Exception as bug:  # noqa: BLE001 - an outermost boundary: all the others would end with it
            report(bug, "a webhook's delivery")

    async def _look(self, session_id: str, job_id: str) -> None:
        try:
            end = await end_of(self._ledger, session_id, job_id)
        except JobNotFoundError:
            await self._forget(session_id, job_id)
            return
        if end.ended is None:
            now = await self._ledger.query(operations.time())
            shortest, longest = UNENDED_SECONDS
            await self._put_off(end, now + min(max(now - end.created, shortest), longest))
        elif end.url is None or end.standing in (DELIVERED, GIVEN_UP):
            await self._forget(session_id, job_id)
        else:
            await self._tell_end(end, end.url, end.ended)

    async def _tell_end(self, end: End, url: str, ended: float) -> None:
        host = urlsplit(url).hostname or ""
        if self._places.full(end.tenant, host):
            await asyncio.sleep(TURNED_AWAY_SECONDS)
            now = await self._ledger.query(operations.time())
            await self._put_off(end, now + FULL_SECONDS)
            return
        async with self._places.at(end.tenant, host):
            await self._try(end, url, ended)

    async def _try(self, end: End, url: str, ended: float) -> None:
        tries = int(end.standing or 0) + 1
        now = await self._ledger.query(operations.time())
        body = await end.body()
        keys = [tenant_secret(secret, end.tenant) for secret in self._secrets]
        headers = headers_for(end.job_id, body, secrets=keys, now=now)
        answer = await self._calls.post(url, body, headers)
        facts = {"job_id": end.job_id, "host": urlsplit(url).hostname, "tries": tries}
        if answer.taken:
            logger.info("webhook.delivered", **facts)
            await self._close(end, DELIVERED)
            return
        again = self._next_try(ended, answer, tries, now)
        if again is None:
            logger.error("webhook.given_up", **facts, reason=str(answer))
            await self._close(end, GIVEN_UP)
            return
        logger.warning("webhook.failed", **facts, reason=str(answer), again=round(again - now, 1))
        await self._stands(end, str(tries))
        await self._put_off(end, again)

    def _next_try(self, ended: float, answer: Answer, tries: int, now: float) -> float | None:
        """When to try again, Unix time; None for never: then the job is gone, or nobody wants to know."""
        if answer.unwanted or tries > len(self._pauses):
            return None
        pause = self._pauses[tries - 1] * random.uniform(0.75, 1.0)  # noqa: S311 - jitter
        again = now + max(pause, min(answer.retry_after, self._pauses[-1]))
        return again if again < (ended or now) + self._ledger.retention.job else None

    async def _close(self, end: End, standing: str) -> None:
        await self._stands(end, standing)
        await self._forget(end.session_id, end.job_id)

    async def _stands(self, end: End, standing: str) -> None:
        keys = self._ledger.keys
        await self._ledger.run(operations.webhook_stands(keys, end.session_id, end.job_id, standing))

    async def _put_off(self, end: End, at: float) -> None:
        keys = self._ledger.keys
        await self._ledger.query(operations.put_off_webhook(keys, end.session_id, end.job_id, at))

    async def _forget(self, session_id: str, job_id: str) -> None:
        await self._ledger.query(operations.forget_webhook(self._ledger.keys, session_id, job_id))
