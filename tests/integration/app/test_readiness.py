"""Ready means that jobs are taken: a worker that has its connections and does not do its work says so, and so
does `palaver status`.
"""

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from celery import Celery

from palaver.producer import Client
from palaver.producer.cli import status
from palaver.shared.jobs import ChatJob
from palaver.shared.settings import Settings
from tests.processes import Processes, Running
from tests.servers import IN_TIME, any_redis_binary, eventually, missing, start_redis

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("readiness")]

LEASE = {"PALAVER_LEASE_SECONDS": "1", "PALAVER_RENEW_SECONDS": "0.3"}


@dataclass
class Watched:
    """A worker, and whoever asks how it is."""

    settings: Settings
    address: str
    celery: Celery
    redis: redis.Redis

    def ready(self, page: str = "readyz") -> str:
        """What /readyz says; empty if it says yes."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/{page}", timeout=10) as answer:
                return "" if answer.read() == b"ok\n" else "?"
        except urllib.error.HTTPError as error:
            return error.read().decode() if error.code == 503 else f"? {error.code}"

    def says(self, reason: str) -> bool:
        return self.ready().startswith(f"{reason}: ") or f"\n{reason}: " in self.ready()

    def is_ready(self) -> bool:
        return eventually(lambda: not self.ready(), every=0.1)

    def told(self, word: str) -> bool:
        """Whether `palaver status` says no, and names this."""
        found = status.look(self.settings)
        return not found.healthy and any(word in problem for problem in found.problems)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    binary = any_redis_binary() or missing("no Redis server on this machine")
    with Processes(tmp_path_factory.mktemp("watched")) as processes:
        url = start_redis(processes, binary).url
        environment = {**LEASE, "PALAVER_REDIS_URL": url, "PALAVER_METRICS_ADDRESS": "0"}
        words = ("-m", "palaver.workers", "--without-mingle", "--include", "tests.integration.app.hanging")
        worker: Running = processes.python(*words, name="worker", env=environment)
        address = worker.wait_for(r"worker\.metrics .*address=(\S+)").group(1)
        worker.wait_for(r"\bready\b", seconds=60)
        settings = Settings(redis_url=url, connect_seconds=IN_TIME, lease_seconds=1, renew_seconds=0.3)
        with (
            Celery("operator", broker=url, set_as_current=False) as celery,
            redis.Redis.from_url(url) as client,
        ):
            assert eventually(celery.control.ping)  # else it may not hear the first command
            yield Watched(settings, address, celery, client)


def test_a_worker_that_takes_jobs_is_ready(watched: Watched) -> None:
    assert watched.is_ready()
    assert eventually(lambda: len(watched.redis.hkeys("palaver:canaries")) == 18)  # sent, taken, wait of six
    assert eventually(lambda: status.look(watched.settings).healthy, every=0.2)


def test_a_queue_that_it_was_told_not_to_consume_is_told(watched: Watched) -> None:
    assert eventually(lambda: watched.celery.control.cancel_consumer("palaver.normal", reply=True))
    assert eventually(lambda: "consumers: it does not consume palaver.normal\n" in watched.ready(), every=0.1)
    assert eventually(lambda: watched.told("it does not consume palaver.normal"))
    watched.celery.control.add_consumer("palaver.normal")
    assert watched.is_ready()


def test_a_worker_that_holds_its_connections_and_takes_nothing_is_found_out(
    watched: Watched, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    watched.celery.control.broadcast("hang", arguments={"pipe": str(pipe)})
    try:
        assert eventually(lambda: watched.says("stuck") and watched.says("canary"), every=0.1)
        assert eventually(lambda: watched.told("nobody has taken its canary"))
    finally:
        pipe.write_bytes(b"go on")
    assert watched.is_ready()


def test_one_that_works_on_a_backlog_is_ready_while_canaries_wait_behind_it(watched: Watched) -> None:
    assert eventually(lambda: status.look(watched.settings).healthy, every=0.2)
    watched.celery.control.broadcast("dawdle", arguments={"seconds": 0.02})
    try:
        with Client(watched.settings) as client:

            def too_long_for_an_idle_system() -> bool:
                client.submit_many([ChatJob(messages="hello", priority=9) for _ in range(50)])
                waits = client.ledger.vigil().canaries["palaver.low"].waits_for
                assert not watched.says("canary")
                assert not watched.says("stuck")
                assert not [told for told in status.look(watched.settings).problems if "take" in told]
                return waits > 2.0

            assert eventually(too_long_for_an_idle_system, every=0.1)
    finally:
        watched.celery.control.broadcast("dawdle", arguments={"seconds": 0.0})


def test_one_whose_thread_turns_and_that_asks_for_no_messages_is_found_out(watched: Watched) -> None:
    watched.celery.control.broadcast("starve", arguments={"room": 0})
    try:
        assert eventually(lambda: watched.says("stuck") and watched.says("canary"), every=0.1)
        assert watched.ready("startupz") == "", "started it has"
    finally:
        watched.celery.control.broadcast("starve", arguments={"room": 1})
    assert watched.is_ready()


def test_a_sweep_that_nobody_completes_is_told(watched: Watched) -> None:
    over = threading.Event()

    def hold() -> None:
        """Somebody has the turn for ever, and does nothing with it."""
        while not over.wait(0.02):
            seconds, microseconds = watched.redis.time()
            watched.redis.hset("palaver:sweep", "until", seconds * 1000 + microseconds // 1000 + 400)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert eventually(lambda: watched.says("sweeps"), every=0.1)
        assert eventually(lambda: watched.told("no sweep was completed"))
    finally:
        over.set()
        holder.join()
    assert watched.is_ready()


def test_leases_that_run_out_before_they_are_renewed_are_told(watched: Watched) -> None:
    with Client(watched.settings) as client:
        handle = client.submit(json.dumps({"endless": True, "rate": 20}))
        next(iter(handle))
        watched.redis.client_pause(30_000, all=False)
        try:
            assert eventually(lambda: watched.says("leases"), every=0.1)
        finally:
            watched.redis.client_unpause()
        assert watched.is_ready()
        handle.cancel()
    assert eventually(lambda: [each["running"] for each in status.look(watched.settings).workers] == [0])
