"""`palaver status`: is there somebody who does the work, and do the providers answer?"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from palaver.producer.async_client import AsyncClient
from palaver.producer.broker import Broker
from palaver.producer.cli.terminal import bold, columns, dim, one_line, seconds, write, write_json
from palaver.producer.cli.verdict import live, problems_of, unconsumed
from palaver.producer.client import send_stored
from palaver.shared.batches import BatchView
from palaver.shared.errors import BrokerUnavailableError, LedgerUnavailableError, ServiceUnavailableError
from palaver.shared.ledger import Announcement, Gate, SyncLedger, operations
from palaver.shared.settings import Settings, redacted_url

ANSWER_SECONDS: Final = 7.5
"""For a worker that is asked how a provider is; it gives the provider a little less. With the rest of the
command, whatever has failed is told within 10 seconds.
"""

MOST_BATCHES: Final = 20
"""Rows for a screen; the JSON has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A server that answered, and how fast (in seconds)."""

    url: str
    answered_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBatch:
    """A batch that has not ended: of its `total` lines so many are `done`, some of them have `failed`."""

    batch_id: str
    status: str
    done: int
    failed: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything that is shown, as it was at `time`; only the providers answer later."""

    time: float  # Unix, in seconds
    healthy: bool  # a live worker consumes, nothing is wrong, and providers that were asked have answered
    problems: list[str]  # of workers, of queues that nobody takes from, of sweeps
    ledger: Service
    broker: Service
    unended: int  # jobs, of all sessions
    queues: dict[str, int]
    unconsumed: list[str]  # queues that no live worker is told to consume
    workers: list[dict[str, Any]]
    profiles: list[dict[str, Any]]  # with `health`, if the provider was asked
    gates: list[Gate]  # of profiles: closed, paused, or with somebody who waits
    batches: list[OpenBatch]  # the oldest first


def run(*, as_json: bool, quick: bool = False) -> int:
    """Show it; 0 only when at least one live worker consumes and, unless it is to be `quick`, all providers
    answer.
    """
    settings = Settings.load()
    status = look(settings)
    if status.healthy and not quick:
        status = asyncio.run(examined(status, settings))
    if as_json:
        write_json(asdict(status))
    else:
        _print(status)
    return 0 if status.healthy else 1


def look(settings: Settings) -> Status:
    """Ask ledger and broker. Raises LedgerUnavailableError and BrokerUnavailableError."""
    with SyncLedger(settings) as ledger:
        answered = _timed(ledger.check)
        ledger.query(operations.write_nothing(ledger.keys))
        broker = Broker.of(settings)
        try:
            broker_answered = _timed(broker.check)
            # Without a worker nobody else ends what is past its deadline.
            send_stored(broker, ledger.expire_all())
            queues = broker.queue_lengths()
        finally:
            broker.close()
        workers = ledger.workers()
        problems = problems_of(workers, ledger.vigil(), lease=settings.lease_seconds)
        return Status(
            time=ledger.query(operations.time()),  # its own, as heartbeats are: this machine's may differ
            healthy=bool(live(workers)) and not problems,
            problems=problems,
            ledger=Service(url=redacted_url(settings.redis_url), answered_in=answered),
            broker=Service(url=redacted_url(settings.broker_url), answered_in=broker_answered),
            unended=ledger.unended(),
            queues=queues,
            unconsumed=unconsumed(workers),
            workers=[_announced(worker) for worker in workers],
            profiles=[_announced(profile) for profile in ledger.announced_profiles()],  # and aliases
            gates=ledger.gates(),
            batches=[_batch(view) for view in ledger.open_batches()],
        )


async def examined(status: Status, settings: Settings) -> Status:
    """The same, after a worker has asked each provider, over the queue: one that is announced and takes no
    messages is found out too.
    """
    names = [profile["name"] for profile in status.profiles if profile["kind"] != "alias"]
    async with AsyncClient(settings) as client:
        answers = await asyncio.gather(*(_health(client, name) for name in names))
    found = dict(zip(names, answers, strict=True))
    return replace(
        status,
        healthy=status.healthy and all(health["error"] is None for health in found.values()),
        profiles=[
            profile | ({"health": found[profile["name"]]} if profile["name"] in found else {})
            for profile in status.profiles
        ],
    )


async def _health(client: AsyncClient, profile: str) -> dict[str, Any]:
    try:
        health = await client.probe(profile, timeout=ANSWER_SECONDS)
    except (LedgerUnavailableError, BrokerUnavailableError):
        raise
    except ServiceUnavailableError:
        silence = f"no worker took the question within {ANSWER_SECONDS:g} seconds"
        return {"worker": None, "latency_ms": None, "error": silence}
    error = None if health.error is None else health.error.message
    return {"worker": health.worker, "latency_ms": round(health.latency_ms, 1), "error": error}


def _timed(check: Callable[[], None]) -> float:
    """How long the second answer took: the first has waited for a client to be loaded and connected."""
    check()
    begun = time.monotonic()
    check()
    return round(time.monotonic() - begun, 6)


def _announced(announcement: Announcement) -> dict[str, Any]:
    return {"name": announcement.name, "heartbeat": announcement.time, **announcement.data}


def _batch(view: BatchView) -> OpenBatch:
    counts = view.counts
    return OpenBatch(
        batch_id=view.batch.batch_id,
        status=view.status.value,
        done=counts.done,
        failed=counts.failed,
        total=counts.total,
    )


def _print(status: Status) -> None:
    queues = (
        f"{name.rpartition('.')[2]} {length}{' (nobody consumes it)' if name in status.unconsumed else ''}"
        for name, length in status.queues.items()
    )
    rows = [
        ("ledger", _answered(status.ledger)),
        ("broker", _answered(status.broker)),
        ("queues", " · ".join(queues)),
        ("jobs", f"{status.unended} not ended, {_running(status)} running"),
        ("profiles", ", ".join(one_line(profile["name"]) for profile in status.profiles) or "none"),
    ]
    write(columns(rows, indent=""))
    if status.workers:
        seen = [
            (one_line(worker["name"]), _load(worker), _seen(worker, status.time)) for worker in status.workers
        ]
        write("\n" + columns([("WORKER", "STREAMS", "HEARTBEAT"), *seen], indent=""))
    asked = [profile for profile in status.profiles if "health" in profile]
    if asked:
        answers = [(one_line(profile["name"]), _answer(profile["health"])) for profile in asked]
        write("\n" + columns([("PROFILE", "PROVIDER"), *answers], indent=""))
    if status.gates:
        gates = [(one_line(gate.name), *_gate(gate)) for gate in status.gates]
        write("\n" + columns([("GATE", "RUNNING", "WAITING", "CLOSED"), *gates], indent=""))
    _print_batches(status.batches)
    wrong = [*_missing(status.workers), *status.problems]
    if wrong:
        write("\n" + "".join(f"{line}\n" for line in wrong))
    if not asked and not status.healthy and not status.problems:
        write(f"\n{bold('No worker consumes.')} Start one: palaver worker\n")


def _missing(workers: list[dict[str, Any]]) -> Iterator[str]:
    """What single workers do without."""
    for worker in workers:
        name = one_line(worker["name"])
        for why in worker.get("unserved", {}).values():
            yield f"{name} does not serve {one_line(why)}"
        for server, why in worker.get("tools_missing", {}).items():
            yield f"{name} has no tools of {one_line(server)}: {one_line(why)}"


def _print_batches(batches: list[OpenBatch]) -> None:
    if not batches:
        return
    shown = [
        (batch.batch_id, batch.status, f"{batch.done} of {batch.total}", str(batch.failed))
        for batch in batches[:MOST_BATCHES]
    ]
    write("\n" + columns([("BATCH", "STATUS", "DONE", "FAILED"), *shown], indent=""))
    if len(batches) > len(shown):
        write(dim(f"and {len(batches) - len(shown)} more that have not ended\n"))


def _answer(health: dict[str, Any]) -> str:
    if health["error"] is not None:
        return one_line(health["error"], 300)
    return dim(f"answered in {health['latency_ms']:g} ms")


def _gate(gate: Gate) -> tuple[str, str, str]:
    closed = f"for {seconds(gate.closed_for)}" if gate.closed_for else ""
    if gate.paused is not None:
        closed = f"paused by {one_line(gate.paused.by, 60)}, for {seconds(gate.paused.seconds)}"
    return str(gate.running), str(gate.waiting), closed


def _answered(service: Service) -> str:
    return f"{service.url}  {dim(f'answered in {service.answered_in * 1000:.1f} ms')}"


def _running(status: Status) -> int:
    """Jobs; a batch takes a slot of its worker too."""
    return sum(worker.get("running", 0) - worker.get("batches", 0) for worker in status.workers)


def _load(worker: dict[str, Any]) -> str:
    slots = worker.get("slots")
    load = f"{worker.get('running', 0)}" + (f" of {slots}" if slots else "")
    return f"{load}, draining" if worker.get("draining") else load


def _seen(worker: dict[str, Any], now: float) -> str:
    return f"{seconds(max(0.0, now - worker['heartbeat']))} ago"
