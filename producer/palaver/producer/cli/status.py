"""`palaver status`: is there somebody who does the work?"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from palaver.producer.broker import Broker
from palaver.producer.cli.terminal import bold, columns, dim, one_line, seconds, write, write_json
from palaver.producer.client import send_stored
from palaver.shared.ledger import Announcement, SyncLedger
from palaver.shared.settings import Settings, redacted_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A server that answered, and how fast (in seconds)."""

    url: str
    answered_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything that is shown."""

    healthy: bool  # a live worker consumes
    ledger: Service
    broker: Service
    unended: int  # jobs, of all sessions
    queues: dict[str, int]
    workers: list[dict[str, Any]]
    profiles: list[dict[str, Any]]


def run(*, as_json: bool) -> int:
    """Show it; 0 only when at least one live worker consumes."""
    status = look(Settings.load())
    if as_json:
        write_json(asdict(status))
    else:
        _print(status)
    return 0 if status.healthy else 1


def look(settings: Settings) -> Status:
    """Ask ledger and broker. Raises LedgerUnavailableError and BrokerUnavailableError."""
    with SyncLedger(settings) as ledger:
        answered = _timed(ledger.check)
        broker = Broker.of(settings)
        try:
            broker_answered = _timed(broker.check)
            # Without a worker nobody else ends what is past its deadline.
            send_stored(broker, ledger.expire_all())
            queues = broker.queue_lengths()
        finally:
            broker.close()
        workers = ledger.workers()
        return Status(
            healthy=any(not worker.data.get("draining") for worker in workers),
            ledger=Service(url=redacted_url(settings.redis_url), answered_in=answered),
            broker=Service(url=redacted_url(settings.broker_url), answered_in=broker_answered),
            unended=ledger.unended(),
            queues=queues,
            workers=[_announced(worker) for worker in workers],
            profiles=[_announced(profile) for profile in ledger.announced_profiles()],  # and aliases
        )


def _timed(check: Callable[[], None]) -> float:
    """How long the second answer took: the first has waited for a client to be loaded and connected."""
    check()
    begun = time.monotonic()
    check()
    return round(time.monotonic() - begun, 6)


def _announced(announcement: Announcement) -> dict[str, Any]:
    return {"name": announcement.name, "heartbeat": announcement.time, **announcement.data}


def _print(status: Status) -> None:
    queues = (f"{name.rpartition('.')[2]} {length}" for name, length in status.queues.items())
    rows = [
        ("ledger", _answered(status.ledger)),
        ("broker", _answered(status.broker)),
        ("queues", " · ".join(queues)),
        ("jobs", f"{status.unended} not ended, {_running(status)} running"),
        ("profiles", ", ".join(one_line(profile["name"]) for profile in status.profiles) or "none"),
    ]
    write(columns(rows, indent=""))
    if status.workers:
        seen = [(one_line(worker["name"]), _load(worker), _seen(worker)) for worker in status.workers]
        write("\n" + columns([("WORKER", "STREAMS", "HEARTBEAT"), *seen], indent=""))
    for worker in status.workers:
        for why in worker.get("unserved", {}).values():
            write(f"\n{one_line(worker['name'])} does not serve {one_line(why)}")
    if not status.healthy:
        write(f"\n{bold('No worker consumes.')} Start one: palaver worker\n")


def _answered(service: Service) -> str:
    return f"{service.url}  {dim(f'answered in {service.answered_in * 1000:.1f} ms')}"


def _running(status: Status) -> int:
    return sum(worker.get("running", 0) for worker in status.workers)


def _load(worker: dict[str, Any]) -> str:
    slots = worker.get("slots")
    load = f"{worker.get('running', 0)}" + (f" of {slots}" if slots else "")
    return f"{load}, draining" if worker.get("draining") else load


def _seen(worker: dict[str, Any]) -> str:
    return f"{seconds(max(0.0, time.time() - worker['heartbeat']))} ago"
