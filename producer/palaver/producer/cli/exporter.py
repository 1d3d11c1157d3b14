"""`palaver exporter`: the whole system for Prometheus, until Ctrl-C."""

import signal
from collections.abc import Callable
from queue import SimpleQueue

import orjson

from palaver.producer.cli.system import System
from palaver.producer.cli.terminal import note, write, write_json
from palaver.producer.heeding import next_of
from palaver.shared.errors import PalaverError
from palaver.shared.metrics import MetricsAddress, MetricsServer, Page, metrics_page
from palaver.shared.settings import Settings

HOST = "127.0.0.1"
PORT = 9463


def run(host: str, port: int, *, as_json: bool) -> int:
    """Serve. A ledger or a broker that is away is told on the page, and does not end it."""
    ends: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: ends.put(number))
    system = System(Settings.load())
    try:
        server = MetricsServer(MetricsAddress(host, port), pages(system))
        try:
            _say_ready(f"http://{server.address}", as_json=as_json)
            next_of(ends)
        finally:
            server.close()
    finally:
        system.close()
    note("stopped")
    return 0


def pages(system: System) -> dict[str, Callable[[], Page]]:
    """By their paths."""
    return {
        "/metrics": metrics_page(system.families),
        "/healthz": lambda: Page(b"ok\n"),
        "/readyz": lambda: _readiness(system),
        "/targets": lambda: _targets(system),
    }


def _readiness(system: System) -> Page:
    problems = system.problems()
    if not problems:
        return Page(b"ok\n")
    return Page("".join(f"{problem}\n" for problem in problems).encode(), 503)


def _targets(system: System) -> Page:
    """As Prometheus' HTTP service discovery takes it; it keeps what it knew where this is an error."""
    try:
        groups = [{"targets": system.addresses(), "labels": {"job": "palaver-worker"}}]
    except PalaverError as error:
        return Page(f"{error}\n".encode(), 503)
    return Page(orjson.dumps(groups), content_type="application/json")


def _say_ready(address: str, *, as_json: bool) -> None:
    if as_json:
        write_json({"ready": True, "url": address})
    else:
        write(f"ready: {address}/metrics · Ctrl-C stops it\n")
