"""What the requests of this process cost their tenants, told to the ledger: after each of them what it has
cost, and before it what it may, where that is limited.

What tenants without a limit spend is told as well, some of it together: a limit that is set in the middle of
a month, or of a batch, knows of all of it.
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
GATHER_SECONDS: Final = 1.0
"""What nobody waits for is told together with what comes within such a time."""
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

    async def look(self, nanos: int, hard: float | None) -> Standing:
        """Whether a request may run now that may cost so much."""
        async with self._turn:
            standing = await self._tell()
        taken = round((standing.spent + standing.held) * NANO) + nanos
        return replace(standing, may_run=hard is None or taken <= round(hard * NANO))

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

    def hurry(self) -> None:
        """What is to be told is not to wait for more."""
        self._news.set()

    async def keep(self) -> None:
        """Tell the ledger what changes, and again what does not, until nothing is held or owed."""
        failed = False
        while self._held or self._owed or self._believed:
            await self._change()
            self._news.clear()
            try:
                async with self._turn:
                    await self._tell()
                failed = False
            except PalaverError as error:
                if not failed:
                    logger.warning("spending.not_counted", error=error.type, tenant=self._tenant)
                failed = True
                await asyncio.sleep(PAUSE_SECONDS)

    async def _change(self) -> None:
        """Return when there is something to tell; what is held was told when it was reserved."""
        with suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_SECONDS if self._held else GATHER_SECONDS):
                await self._news.wait()

    async def _tell(self, one_more: int | None = None, hard: float | None = None) -> Standing:
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
        self._owed -= said.nanos
        if not standing.may_run:
            self._believed = held
        return standing


class Accounts:
    """Those of all tenants. `worker` is the name of this one life of the process."""

    def __init__(self, ledger: AsyncLedger, *, worker: str) -> None:
        self._ledger = ledger
        self._worker = worker
        self._numbers = count(1)
        self._accounts: WeakValueDictionary[str, Account] = WeakValueDictionary()
        self._keeping: dict[Account, asyncio.Task[None]] = {}

    def of(self, tenant: str) -> Account:
        """The tenant's, until nobody has it and the ledger knows all of it."""
        account = self._accounts.get(tenant)
        if account is None:
            account = Account(self._ledger, tenant, worker=self._worker, numbers=self._numbers)
            self._accounts[tenant] = account
        return account

    def next_try(self, account: Account) -> float:
        """See `Account.next_try`. The account is known until then, with the order that it knows."""
        wait = account.next_try()
        asyncio.get_running_loop().call_later(wait, lambda: account)
        return wait

    def keep(self, account: Account) -> None:
        """See to it that the ledger hears of what was reserved, released and owed."""
        known = self._keeping.get(account)
        if known is None or known.done():
            self._keeping[account] = keeping = asyncio.create_task(account.keep(), name="palaver-account")
            keeping.add_done_callback(partial(self._is_kept, account))

    def _is_kept(self, account: Account, keeping: asyncio.Task[None]) -> None:
        if self._keeping[account] is keeping:
            del self._keeping[account]

    async def told(self, seconds: float | None = None) -> None:
        """Return when the ledger knows of everything, or after so long."""
        for account in self._keeping:
            account.hurry()
        if self._keeping:
            await asyncio.wait(list(self._keeping.values()), timeout=seconds)
