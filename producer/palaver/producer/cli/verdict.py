"""Whether a system works, by what its workers and its ledger say."""

from collections.abc import Sequence
from typing import Final

from palaver.producer.cli.terminal import one_line, seconds
from palaver.shared.ledger import Announcement, Vigil

LATE: Final = 1.5
"""Of a lease: what a canary or a sweep may take; as of a worker's own readiness."""


def live(workers: Sequence[Announcement]) -> list[Announcement]:
    """Those that take jobs."""
    return [worker for worker in workers if not worker.data.get("draining")]


def problems_of(workers: Sequence[Announcement], vigil: Vigil, *, lease: float) -> list[str]:
    """What is wrong although there are workers. Canaries may wait while none of them has a free slot."""
    taking, late = live(workers), lease * LATE
    if not taking:
        return []
    found = [
        f"{one_line(worker.name)}: {one_line(told)}"
        for worker in taking
        for told in worker.data.get("problems", {}).values()
    ]
    if any(worker.data.get("running", 0) < worker.data.get("slots", 0) for worker in taking):
        waiting = vigil.overdue(late).items()
        found += [f"{queue}: nobody has taken its canary for {seconds(wait)}" for queue, wait in waiting]
    if vigil.swept_ago is not None and vigil.swept_ago > late:
        found.append(f"no sweep was completed for {seconds(vigil.swept_ago)}")
    return found
