"""`palaver drain WORKER`: a worker leaves, and no stream with it."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from palaver.producer.cli.failures import complain
from palaver.producer.cli.operator import operator
from palaver.producer.cli.terminal import note, one_line, write, write_json
from palaver.shared.errors import ValidationError
from palaver.shared.ledger import Announcement, SyncLedger, operations
from palaver.shared.settings import Settings

ANSWER_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 1.0  # a notice reaches only those who listen at that moment
LOOK_SECONDS: Final = 0.1
SUPERVISED: Final = "Kubernetes, compose or systemd start another in its place: to have one fewer, tell them."


def run(name: str, *, wait: bool, as_json: bool) -> int:
    """Tell it, and wait until it says so, or is gone. Raises ValidationError for one that does not live."""
    with SyncLedger(Settings.load()) as ledger:
        workers = _named(name, ledger.workers())
        for worker in workers:
            if not _told(ledger, worker):
                late = f"{name} does not answer; after {ANSWER_SECONDS:g} seconds it still takes jobs"
                complain(late, code="no_answer", as_json=as_json)
                return 1
            _report(worker, _state(ledger, worker.name), as_json=as_json)
        if not as_json:
            note(SUPERVISED)
        for worker in workers if wait else ():
            _until(partial(_is_gone, ledger, worker.name))
            _report(worker, None, as_json=as_json)
    return 0


def _named(name: str, workers: list[Announcement]) -> list[Announcement]:
    """Those of this name: one, unless it was started anew a moment ago."""
    found = [worker for worker in workers if name in (worker.name, worker.data["name"])]
    if not found:
        living = ", ".join(sorted({str(worker.data["name"]) for worker in workers})) or "none"
        raise ValidationError(f"no worker is called {one_line(name)!r}; there are: {one_line(living, 400)}")
    return found


def _told(ledger: SyncLedger, worker: Announcement) -> bool:
    """Whether it drains, or is gone, in time."""
    notice = operations.drain_notice(ledger.keys, worker.name, by=operator())
    gives_up = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < gives_up:
        ledger.query(notice)
        if _until(lambda: _drains(_state(ledger, worker.name)), AGAIN_SECONDS):
            return True
    return False


def _is_gone(ledger: SyncLedger, alias: str) -> bool:
    return _state(ledger, alias) is None


def _drains(state: dict[str, Any] | None) -> bool:
    return state is None or bool(state["draining"])


def _state(ledger: SyncLedger, alias: str) -> dict[str, Any] | None:
    """What it says of itself; None: it is gone."""
    return next((worker.data for worker in ledger.workers() if worker.name == alias), None)


def _until(holds: Callable[[], bool], seconds: float = float("inf")) -> bool:
    gives_up = time.monotonic() + seconds
    while not holds():
        if time.monotonic() >= gives_up:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def _report(worker: Announcement, state: dict[str, Any] | None, *, as_json: bool) -> None:
    """Say what it says of itself now; what it said before it was told to leave is some seconds old."""
    name = worker.data["name"]
    if as_json:
        now = {"state": "gone"} if state is None else {"state": "draining", "running": state["running"]}
        write_json({"worker": name, **now})
    else:
        said = "is gone" if state is None else f"takes no more jobs; {state['running']} are running"
        write(f"{one_line(name)} {said}\n")
