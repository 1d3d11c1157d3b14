"""What the requests of this process cost their tenants, told to the ledger: before each of them what it may
cost, after it what it has.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import count
from typing import Final
from weakref import WeakValueDictionary

from palaver.shared.errors import PalaverError
from palaver.shared.ledger import AsyncLedger, operations
from palaver.shared.ledger.operations.budgeting import Standing
from palaver.shared.ledger.operations.spending import NANO
from palaver.shared.spending import today
from palaver.workers.event_log import event_logger

__all__ = ["Account", "Accounts"]

logger = event_logger("palaver.workers.budgets")

PAUSE_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 20.0
"""What runs is told again, a third of the time for which the ledger believes it."""
LOOK_SECONDS: Final = 5.0
"""So often one looks that may go on if what runs costs less than was set aside for it."""
STEP_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Addition:
    day: date
    number: int
    nanos: int


class Account:
    """A tenant's. Amounts are billionths of a dollar."""

    def __init__(self, ledger: AsyncLedger, tenant: str, *, worker: str, numbers: Iterator[int]) -> None:
        self._ledger = ledger
        self._tenant = tenant
        self._worker = worker
        self._numbers = numbers
        self._owed = 0  # was spent, and the ledger need not know it yet
        self._held = 0
        self._believed = 0  # to be held, by the ledger
        self._addition: _Addition | None = None  # of which nobody knows whether it has come
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._line = asyncio.Lock()
        self._released = asyncio.Event()
        self._tried_at = 0.0

    async def reserve(self, nanos: int, hard: float | None) -> Standing:
        """Ask whether a request may run that may cost so much; if it may, `release` it after it."""
        async with self._turn:
            try:
                standing = await self._tell(nanos, hard)
            except BaseException:
                self._news.set()  # the ledger may hold it: it is told otherwise
                raise
            if standing.may_run:
                self._held += nanos
            return standing

    async def look(self, hard: float | None) -> Standing:
        """Whether anything may run for the tenant now."""
        async with self._turn:
            standing = await self._tell()
        taken = round((standing.spent + standing.held) * NANO)
        return replace(standing, may_run=hard is None or taken < round(hard * NANO))

    @asynccontextmanager
    async def first_in_line(self) -> AsyncIterator[None]:
        """The block of whoever has waited longest here: one looks for all."""
        async with self._line:
            yield

    async def change(self) -> None:
        """Return when something was released here, or after some seconds: other workers release too."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._released.wait()
        self._released.clear()

    def next_try(self) -> float:
        """In how many seconds one more parked job comes again: one after the other, in their order."""
        now = time.monotonic()
        self._tried_at = min(max(now + LOOK_SECONDS, self._tried_at + STEP_SECONDS), now + LONGEST_SECONDS)
        return self._tried_at - now

    def release(self, nanos: int) -> None:
        """A request is over; what it has cost is another matter."""
        self._held -= nanos
        self._news.set()
        self._released.set()

    def owe(self, nanos: int) -> None:
        """So much was spent."""
        self._owed += nanos
        self._news.set()

    async def keep(self) -> None:
        """Tell the ledger what changes, and again what does not, until nothing is held or owed."""
        while self._held or self._owed or self._believed:
            await self._change()
            self._news.clear()
            try:
                async with self._turn:
                    await self._tell()
            except PalaverError as error:
                logger.warning("spending.not_counted", error=error.type, tenant=self._tenant)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _change(self) -> None:
        """Return when there is something to tell; what is held was told when it was reserved."""
        if self._held:
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_SECONDS):
                    await self._news.wait()

    async def _tell(self, one_more: int | None = None, hard: float | None = None) -> Standing:
        standing = await self._say(one_more, hard)
        if standing is None:
            # The month is begun with what has ended by now, and what batches have spent that go on. What is
            # owed is of jobs that ran a moment ago: one that ends just now counts twice, rather than not at
            # all. Of other jobs that run, earlier requests are not counted.
            month = await self._ledger.spending(self._tenant)
            standing = await self._say(one_more, hard)
            if standing is None:  # it has no limit any more
                self._owed = 0
                return Standing(month.spent, 0.0, may_run=True)
        return standing

    async def _say(self, one_more: int | None, hard: float | None) -> Standing | None:
        """Say once more what may not have come, under its number."""
        if self._addition is None:
            self._addition = _Addition(today(), next(self._numbers), self._owed)
        said, held = self._addition, self._held
        self._believed = held + (one_more or 0)
        standing = await self._ledger.run(
            operations.spend(
                self._ledger.keys,
                said.day,
                self._tenant,
                worker=self._worker,
                number=said.number,
                nanos=said.nanos,
                held=held,
                one_more=one_more,
                hard=hard,
            )
        )
        self._addition = None
        if standing is not None:
            self._owed -= said.nanos
        if standing is None or not standing.may_run:
            self._believed = held
        return standing


class Accounts:
    """Those of all tenants with a limit. `worker` is the name of this one life of the process."""

    def __init__(self, ledger: AsyncLedger, *, worker: str) -> None:
        self._ledger = ledger
        self._worker = worker
        self._numbers = count(1)
        self._accounts: WeakValueDictionary[str, Account] = WeakValueDictionary()
        self._keeping: dict[str, asyncio.Task[None]] = {}

    def of(self, tenant: str) -> Account:
        """The tenant's, until nobody has it and the ledger knows all of it."""
        account = self._accounts.get(tenant)
        if account is None:
            account = Account(self._ledger, tenant, worker=self._worker, numbers=self._numbers)
            self._accounts[tenant] = account
        return account

    def keep(self, tenant: str, account: Account) -> None:
        """See to it that the ledger hears of what was reserved, released and owed."""
        known = self._keeping.get(tenant)
        if known is None or known.done():
            self._keeping[tenant] = keeping = asyncio.create_task(account.keep(), name="palaver-account")
            keeping.add_done_callback(partial(self._is_kept, tenant))

    def _is_kept(self, tenant: str, keeping: asyncio.Task[None]) -> None:
        if self._keeping[tenant] is keeping:
            del self._keeping[tenant]

    async def told(self, seconds: float | None = None) -> None:
        """Return when the ledger knows of everything, or after so long."""
        if self._keeping:
            await asyncio.wait(list(self._keeping.values()), timeout=seconds)
