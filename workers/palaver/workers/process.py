"""What there is once in a worker's process, and all of its parts are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, Self

from palaver.shared.ids import new_token
from palaver.shared.ledger import AsyncLedger
from palaver.shared.ledger.subscriptions import Subscriptions
from palaver.shared.settings import Settings
from palaver.workers.link import Link
from palaver.workers.metrics import Counts
from palaver.workers.running import Running

__all__ = ["HEARTBEAT", "Alone", "Host", "Process"]

HEARTBEAT: Final = 0.25
"""Of a lease: so often a worker says that it lives. A sweep takes one for dead that missed two."""


class Host(Protocol):
    """Whoever runs a worker, and gives it its slots: a pool."""

    def leave(self) -> None:
        """End this process as SIGTERM does: an operator wants it."""

    def fail(self) -> None:
        """End it at once, as one that failed: only a new one can do its work. What runs has seconds for its
        end, also what nobody else would do.
        """

    def lend(self, by: int, /) -> None:
        """Have others use so many slots more, as their jobs only wait; or less."""


class Alone:
    """The host of a worker in a program of its own, which ends it when it likes."""

    def leave(self) -> None:
        """See `Host.leave`; the worker drains."""

    def fail(self) -> None:
        """See `Host.fail`; the worker drains, and takes nothing until its program makes another one. What
        waits for jobs there waits on: they are in the ledger, for any worker.
        """

    def lend(self, by: int, /) -> None:
        """See `Host.lend`; nobody else needs slots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """See the module. Its connections are opened when they are used first, the link by its `start`."""

    settings: Settings
    name: str  # the worker's, in every list
    alias: str  # its name in the ledger, of this one life
    host: Host
    running: Running
    counts: Counts
    ledger: AsyncLedger  # what can wait, or is large
    link: Link  # what streams say, and whatever has to keep their order
    subscriptions: Subscriptions

    @classmethod
    def of(cls, settings: Settings, *, name: str, slots: int, host: Host) -> Self:
        """Of a worker of this name, which takes so many jobs at once."""
        return cls(
            settings=settings,
            name=name,
            alias=f"{name}/{new_token()[:8]}",
            host=host,
            running=Running(slots),
            counts=Counts(),
            ledger=AsyncLedger(settings),
            link=Link(settings.redis_url, connect_seconds=settings.connect_seconds),
            subscriptions=Subscriptions(settings),
        )
