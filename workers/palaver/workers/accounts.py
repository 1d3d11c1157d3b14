"""What the requests of this process cost their tenants, told to the ledger: after each of them what it has
cost, and before it what it may, where that is limited.

What tenants without a limit spend is told as well, some of it together: a limit that is set in the middle of
a month, or of a batch, knows of all of it.

All is said over the worker's link: while Redis is away who asks waits, and no request fails of that, or is
taken for one that its provider has failed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import count
from typing import Final
from weakref import WeakValueDictionary

from palaver.shared.errors import PalaverError
from palaver.shared.ledger import Keys, operations
from palaver.shared.ledger.operations.budgeting import Asks, OneMore, Standing
from palaver.shared.spending import month_of, today
from palaver.workers.event_log import event_logger
from palaver.workers.link import Link

__all__ = ["LOOK_SECONDS", "Account", "Accounts"]

logger = event_logger("palaver.workers.budgets")

PAUSE_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 20.0
"""What runs is told again, a third of the time for which the ledger believes it."""
AHEAD_SECONDS: Final = 2 * AGAIN_SECONDS
"""So long before a month what is held is told for it too: others may spend of it from its first moment."""
GATHER_SECONDS: Final = 1.0
"""What nobody waits for is told together with what comes within such a time."""
LOOK_SECONDS: Final = 5.0
"""So often one looks that may go on if what runs costs less than was set aside for it."""
FIRST_SECONDS: Final = 1.0
"""So often, who waits in its worker and has money kept for it: that is one of all workers."""
STEP_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Addition:
    day: date
    number: int
    nanos: int


class Account:
    """A tenant's. Amounts are billionths of a dollar."""

    def __init__(self, link: Link, keys: Keys, tenant: str, *, worker: str, numbers: Iterator[int]) -> None:
        self._link = link
        self._keys = keys
        self._tenant = tenant
        self._worker = worker
        self._numbers = numbers
        self._owed = 0  # was spent, and the ledger need not know it yet
        self._held = 0
        self._believed = 0  # to be held, by the ledger
        self._ahead_due = False  # the next month may believe something else
        self._addition: _Addition | None = None  # of which nobody knows whether it has come
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._line = asyncio.Lock()
        self._released = asyncio.Event()
        self._tried_at = 0.0

    async def reserve(self, one_more: OneMore) -> Standing:
        """Ask whether a request may run; if it may, `release` it after it."""
        async with self._turn:
            try:
                standing = await self._tell(one_more)
            except BaseException:
                self._news.set()  # the ledger may hold it: it is told otherwise
                raise
            if standing.may_run:
                self._held += one_more.nanos
            return standing

    async def look(self, one_more: OneMore, *, waits: bool = False) -> Standing:
        """Whether a request may run now. Money may be kept for one that `waits`: it has to look again."""
        async with self._turn:
            return await self._tell(one_more, asks="wait" if waits else "look")

    @asynccontextmanager
    async def in_line(self, *, is_first: bool) -> AsyncIterator[None]:
        """The block of whoever has waited longest here: one looks for all. Who `is_first` has money kept for
        it already, that nobody else may take: it looks for itself.
        """
        if is_first:
            yield
        else:
            async with self._line:
                yield

    async def until(self, look: Callable[[], Awaitable[Standing]]) -> None:
        """Look until there is room: when something was released here, and after some seconds: other workers
        release too.
        """
        while True:
            released, standing = self._released, await look()
            if standing.may_run:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_SECONDS if standing.is_first else LOOK_SECONDS):
                    await released.wait()

    def next_try(self, *, is_first: bool = False) -> float:
        """In how many seconds one more parked job comes again: one after the other, in their order. One that
        `is_first` comes soon: others leave it their money.
        """
        if is_first:
            return LOOK_SECONDS
        now = time.monotonic()
        self._tried_at = min(max(now + LOOK_SECONDS, self._tried_at + STEP_SECONDS), now + LONGEST_SECONDS)
        return self._tried_at - now

    def release(self, nanos: int) -> None:
        """A request is over. What it has cost is to be owed before anything else is awaited."""
        self._held -= nanos
        self._news.set()
        self._released.set()
        self._released = asyncio.Event()

    def owe(self, nanos: int) -> None:
        """So much was spent."""
        self._owed += nanos

    def hurry(self) -> None:
        """What is to be told is not to wait for more."""
        self._news.set()

    async def keep(self) -> None:
        """Tell the ledger what changes, and again what does not, until nothing is held or owed."""
        failed = False
        while self._held or self._owed or self._believed or self._ahead_due:
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
                self._news.set()  # it is still to be told, and soon: the ledger believes it for a minute
                await asyncio.sleep(PAUSE_SECONDS)

    async def _change(self) -> None:
        """Return when there is something to tell; what is held was told when it was reserved."""
        with suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_SECONDS if self._held else GATHER_SECONDS):
                await self._news.wait()

    async def _tell(self, one_more: OneMore | None = None, *, asks: Asks = "take") -> Standing:
        """What changes, and whether one more may run. A month is not judged by the sum of the one before."""
        if self._addition is not None and month_of(self._addition.day) != month_of(today()):
            await self._say()
        return await self._say(one_more, asks=asks)

    async def _say(self, one_more: OneMore | None = None, *, asks: Asks = "take") -> Standing:
        """Say once more what may not have come, under its number. What was spent since is set aside until it
        is said.
        """
        number = next(self._numbers)
        if self._addition is None:
            self._addition = _Addition(today(), number, self._owed)
        said = self._addition
        held = self._held + self._owed - said.nanos
        self._believed = held + (one_more.nanos if one_more is not None and asks == "take" else 0)
        standing = await self._link.run(
            operations.spend(
                self._keys,
                said.day,
                self._tenant,
                worker=self._worker,
                number=number,
                nanos=said.nanos,
                first_said=said.number,
                held=held,
                one_more=one_more,
                asks=asks,
            )
        )
        self._addition = None
        self._owed -= said.nanos
        if not (asks == "take" and standing.may_run):
            self._believed = held
        self._ahead_due = True
        await self._tell_ahead(said.day)
        return standing

    async def _tell_ahead(self, day: date) -> None:
        """At the end of the month of this day, have the next one hold what this one does."""
        soon = today(AHEAD_SECONDS)
        if month_of(soon) > month_of(day):
            ahead = operations.spend(
                self._keys,
                soon,
                self._tenant,
                worker=self._worker,
                number=next(self._numbers),
                nanos=0,
                held=self._believed,
            )
            await self._link.run(ahead)
        self._ahead_due = False


class Accounts:
    """Those of all tenants. `worker` is the name of this one life of the process."""

    def __init__(self, link: Link, keys: Keys, *, worker: str) -> None:
        self._link = link
        self._keys = keys
        self._worker = worker
        self._numbers = count(1)
        self._accounts: WeakValueDictionary[str, Account] = WeakValueDictionary()
        self._keeping: dict[Account, asyncio.Task[None]] = {}

    def of(self, tenant: str) -> Account:
        """The tenant's, until nobody has it and the ledger knows all of it."""
        account = self._accounts.get(tenant)
        if account is None:
            account = Account(self._link, self._keys, tenant, worker=self._worker, numbers=self._numbers)
            self._accounts[tenant] = account
        return account

    def next_try(self, account: Account, *, is_first: bool = False) -> float:
        """See `Account.next_try`. The account is known until then, with the order that it knows."""
        wait = account.next_try(is_first=is_first)
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

    async def aclose(self) -> None:
        """What could not be told is given up."""
        keeping = list(self._keeping.values())
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)
