"""Where jobs are done: their leases, what answers them, what hears of their events, the runner of jobs and
the drivers of batches.
"""

from __future__ import annotations

from typing import Final

from palaver.shared.stores.batch_files import BatchFiles
from palaver.workers.answering import Answering
from palaver.workers.batches import Drivers, Lines, Parts, Room
from palaver.workers.bounding import Bounding
from palaver.workers.ending import Ending
from palaver.workers.lease import LeaseKeeper
from palaver.workers.metrics import Measured
from palaver.workers.process import Process
from palaver.workers.publisher import Publisher
from palaver.workers.runner import Runner
from palaver.workers.served import Served
from palaver.workers.sinks import Sinks, load_sinks
from palaver.workers.tracing import Tracing

__all__ = ["Workshop"]

LINE_BYTES: Final = 16 << 20
"""Of stored lines of batches that run at once, beside the first of each; they cost several times as much."""


class Workshop:
    """The parts, each made once for a process."""

    def __init__(self, process: Process, *, served: Served, bounding: Bounding, tracing: Tracing) -> None:
        settings, ledger, counts = process.settings, process.ledger, process.counts
        self._process = process
        self._bounding = bounding
        self._spent = (counts.spent, bounding.budgets.spent)
        self.leases = LeaseKeeper(
            process.link,
            lease_seconds=settings.lease_seconds,
            renew_seconds=settings.renew_seconds,
            counts=counts,
            beside=bounding.gates.renewals,
        )
        self.answering = Answering(
            process,
            served=served,
            policies=[*bounding.policies, *tracing.policies, Measured(counts)],
            prices=bounding.prices,
            paused=bounding.pauses,
        )
        self.sinks = Sinks(load_sinks(settings, self.answering.code), ledger, process.subscriptions)
        self.runner = self._make_runner(tracing)
        self.drivers = Drivers(self._parts(served) if settings.files_url else None, process.running)

    def _make_runner(self, tracing: Tracing) -> Runner:
        link, settings, ledger = self._process.link, self._process.settings, self._process.ledger
        keys = ledger.keys
        return Runner(
            self._process,
            publisher=Publisher(
                link, keys, log_entries=settings.log_maxlen, answer_bytes=settings.max_answer_bytes
            ),
            leases=self.leases,
            models=self.answering.models,
            agents=self.answering.agents,
            gates=self._bounding.gates,
            shares=self._bounding.shares,
            starts=self._bounding.starts,
            sinks=self.sinks,
            ending=Ending(link=link, keys=keys, retention=ledger.retention, log_content=settings.log_content),
            spent=self._spent,
            tracing=tracing,
        )

    def _parts(self, served: Served) -> Parts:
        settings = self._process.settings
        return Parts(
            link=self._process.link,
            ledger=self._process.ledger,
            leases=self.leases,
            files=BatchFiles.of(settings),
            lines=Lines(
                self.answering.models,
                served,
                self._bounding.shares,
                answer_bytes=settings.max_answer_bytes,
                spent=self._spent,
            ),
            room=Room(LINE_BYTES),
            worker=self._process.alias,
            lease_seconds=settings.lease_seconds,
        )
