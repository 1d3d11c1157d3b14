"""What holds the jobs of a worker back: what their tenants may have and may spend, the limits and pauses of
profiles, the breakers of those whose providers fail.
"""

from __future__ import annotations

from collections.abc import Sequence

from palaver.shared.ledger import Bounds
from palaver.workers.budgets import Budgets
from palaver.workers.control import Heeding
from palaver.workers.gates import Gates
from palaver.workers.lent_slots import LentSlots
from palaver.workers.pauses import Pauses
from palaver.workers.policies import Breakers, Policy
from palaver.workers.prices import Prices
from palaver.workers.process import HEARTBEAT, Process
from palaver.workers.served import Served
from palaver.workers.shares import Shares
from palaver.workers.starts import Starts
from palaver.workers.sweeper import Post
from palaver.workers.tenancy import Tenancy

__all__ = ["Bounding"]


class Bounding:
    """The parts, each made once for a process. They bound what the ledger takes here as well: jobs that come
    as messages.
    """

    def __init__(self, process: Process, served: Served) -> None:
        settings, ledger, running = process.settings, process.ledger, process.running
        self.tenancy = Tenancy(settings)
        ledger.bounds = Bounds(settings.max_jobs, self.tenancy)
        self.starts = Starts(process, self.tenancy)
        self.pauses = Pauses(ledger, lambda: served.profiles, seconds=settings.lease_seconds * HEARTBEAT)
        lent = LentSlots(lambda: running.slots, process.host.lend)
        self.gates = Gates(
            process.link,
            ledger.keys,
            process.subscriptions,
            self.tenancy,
            lease=settings.lease_seconds,
            lent=lent,
            counts=process.counts,
            paused=self.pauses,
            limits_of=served.limits_of,
        )
        self.pauses.resumed = self.gates.resumed
        self.shares = Shares(self.gates, self.tenancy)
        self.breakers = Breakers()
        self.prices = Prices()
        self.budgets = Budgets(
            process.link, ledger.keys, self.tenancy, self.prices, lent=lent, worker=process.alias
        )

    @property
    def policies(self) -> Sequence[Policy]:
        """Those around each request, the first outermost. Who waits, at the gates too, has nothing yet that
        others wait for: money and a breaker's leave are asked for when the request is about to be made.
        The breaker is next to the provider, and judges nothing else.
        """
        return (
            self.budgets.room,
            self.breakers.look,
            self.gates,
            self.budgets.reserve,
            self.breakers.admit,
        )

    @property
    def heeding(self) -> Heeding:
        """What it heeds of the notices to workers."""
        return {
            "closed": lambda said: self.gates.heed(said["profile"], said["seconds"]),
            "paused": lambda _: self.pauses.look_again(),
            "resumed": lambda _: self.pauses.look_again(),
        }

    def send_by(self, post: Post) -> None:
        """Have the messages of jobs that it lets go on sent by this."""
        self.starts.send = post.put
        self.gates.send_by(post.put)
