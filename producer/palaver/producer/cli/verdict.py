"""Whether a system works, by what its workers and its ledger say."""

import math
from collections.abc import Mapping, Sequence

from palaver.producer.cli.terminal import one_line, seconds
from palaver.shared.ledger import Announcement, Vigil
from palaver.shared.ledger.replies import LATE
from palaver.shared.names import QUEUES


def live(workers: Sequence[Announcement]) -> list[Announcement]:
    """Those that take jobs."""
    return [worker for worker in workers if not worker.data.get("draining")]


def unconsumed(workers: Sequence[Announcement]) -> list[str]:
    """Queues that no live worker is told to consume. That may be meant."""
    taking = live(workers)
    return [queue for queue in QUEUES if taking and not any(_consumes(worker, queue) for worker in taking)]


def stalled(workers: Sequence[Announcement], vigil: Vigil, *, lease: float) -> dict[str, float]:
    """Queues that nobody takes from although a live worker that consumes them has room, and for how many
    seconds their canaries wait. A canary may wait behind a backlog, and while all slots are taken.
    """
    taking = live(workers)
    roomy = [worker for worker in taking if worker.data.get("running", 0) < worker.data.get("slots", 0)]
    untaken = vigil.untaken(lease * LATE, _taken(taking, vigil.time))
    return {
        queue: wait for queue, wait in untaken.items() if any(_consumes(worker, queue) for worker in roomy)
    }


def problems_of(workers: Sequence[Announcement], vigil: Vigil, *, lease: float) -> list[str]:
    """What is wrong although there are workers."""
    taking, late = live(workers), lease * LATE
    if not taking:
        return []
    found = [
        f"{one_line(worker.name)}: {one_line(told)}"
        for worker in taking
        for told in worker.data.get("problems", {}).values()
    ]
    waiting = stalled(workers, vigil, lease=lease).items()
    found += [f"{queue}: nobody has taken its canary for {seconds(wait)}" for queue, wait in waiting]
    if vigil.swept_ago is not None and vigil.swept_ago > late:
        found.append(f"no sweep was completed for {seconds(vigil.swept_ago)}")
    return found


def _consumes(worker: Announcement, queue: str) -> bool:
    return queue in (worker.data.get("queues") or QUEUES)


def _taken(workers: Sequence[Announcement], now: float) -> Mapping[str, float]:
    """How many seconds ago any of them took a message of each queue, as they said it last."""
    found: dict[str, float] = {}
    for worker in workers:
        for queue, ago in worker.data.get("taken", {}).items():
            found[queue] = min(found.get(queue, math.inf), max(0.0, now - worker.time) + ago)
    return found
