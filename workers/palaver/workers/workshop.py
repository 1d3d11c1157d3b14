"""Where jobs are done: their leases, what answers them, what hears of their events, the runner of jobs and
the drivers of batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from palaver.shared.ledger import AsyncLedger
from palaver.shared.ledger.subscriptions import Subscriptions
from palaver.shared.settings import Settings
from palaver.shared.stores.batch_files import BatchFiles
from palaver.workers.answering import Answering
from palaver.workers.batches import Drivers, Lines, Parts, Room
from palaver.workers.bounding import Bounding
from palaver.workers.ending import Ending
from palaver.workers.lease import LeaseKeeper
from palaver.workers.link import Link
from palaver.workers.metrics import Counts, Measured
from palaver.workers.publisher import Publisher
from palaver.workers.runner import Runner
from palaver.workers.served import Served
from palaver.workers.sinks import Sinks, load_sinks
from palaver.workers.tracing import Tracing

__all__ = ["Workshop"]

LINE_BYTES: Final = 16 << 20
"""Of stored lines of batches that run at once; each costs several times its bytes."""


class Workshop:
    """The parts, each made once for a worker, whose name in the ledger is `alias`."""

    def __init__(
        self,
        settings: Settings,
        ledger: AsyncLedger,
        link: Link,
        subscriptions: Subscriptions,
        *,
        alias: str,
        bounding: Bounding,
        served: Served,
        counts: Counts,
        tracing: Tracing,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._link = link
        self._alias = alias
        self._bounding = bounding
        self._served = served
        self._counts = counts
        self._spent = (counts.spent, bounding.budgets.spent)
        self.leases = LeaseKeeper(
            link,
            lease_seconds=settings.lease_seconds,
            renew_seconds=settings.renew_seconds,
            counts=counts,
            beside=bounding.gates.renewals,
        )
        self.answering = Answering(
            settings,
            ledger,
            link,
            subscriptions,
            served=served,
            policies=[*bounding.policies, *tracing.policies, Measured(counts)],
            prices=bounding.prices,
            paused=bounding.pauses,
            counts=counts,
        )
        self.sinks = Sinks(load_sinks(settings, self.answering.code), ledger, subscriptions)
        self.runner = self._make_runner(tracing)

    def drivers(self, *, slots: int, draining: Callable[[], bool]) -> Drivers:
        """Those of batches: none where there is no store of files."""
        parts = self._parts() if self._settings.files_url else None
        return Drivers(parts, slots=slots, draining=draining)

    def _make_runner(self, tracing: Tracing) -> Runner:
        link, keys, settings = self._link, self._ledger.keys, self._settings
        return Runner(
            link=link,
            keys=keys,
            publisher=Publisher(
                link, keys, log_entries=settings.log_maxlen, answer_bytes=settings.max_answer_bytes
            ),
            leases=self.leases,
            models=self.answering.models,
            agents=self.answering.agents,
            shares=self._bounding.shares,
            starts=self._bounding.starts,
            sinks=self.sinks,
            ending=Ending(
                link=link, keys=keys, retention=self._ledger.retention, log_content=settings.log_content
            ),
            counts=self._counts,
            spent=self._spent,
            tracing=tracing,
            worker=self._alias,
            lease_seconds=settings.lease_seconds,
            max_document_bytes=settings.max_document_bytes,
            log_entries=settings.log_maxlen,
            tells_webhooks=settings.webhook_secret is not None,
        )

    def _parts(self) -> Parts:
        return Parts(
            link=self._link,
            ledger=self._ledger,
            leases=self.leases,
            files=BatchFiles.of(self._settings),
            lines=Lines(
                self.answering.models,
                self._served,
                self._bounding.shares,
                answer_bytes=self._settings.max_answer_bytes,
                spent=self._spent,
            ),
            room=Room(LINE_BYTES),
            worker=self._alias,
            lease_seconds=self._settings.lease_seconds,
        )
