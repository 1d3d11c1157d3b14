"""Workers side by side, coming, going, and finding nobody there."""

import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from celery.app.control import Control
from pytest_celery import CeleryTestSetup  # type: ignore[import-untyped]

from palaver.producer import Client
from palaver.shared.jobs import Status
from palaver.shared.ledger import SyncLedger
from palaver.shared.settings import Settings
from palaver.workers.command import main
from tests.integration.nodes import LocalWorker
from tests.processes import Processes
from tests.servers import eventually, free_port

pytestmark = [pytest.mark.redis, pytest.mark.worker]

StartWorker = Callable[..., LocalWorker]


def script(words: int, rate: int) -> str:
    return json.dumps({"n": words, "rate": rate})


@pytest.fixture
def client(celery_setup: CeleryTestSetup) -> Any:
    settings = Settings(redis_url=celery_setup.broker.container.url)
    client = Client(settings)
    yield client
    client.close()


@pytest.fixture
def control(celery_setup: CeleryTestSetup) -> Iterator[Control]:
    """Celery's, for one that has nothing of Palaver."""
    with Celery("client", broker=celery_setup.broker.container.url, set_as_current=False) as celery:
        yield celery.control


@pytest.fixture
def ledger(celery_setup: CeleryTestSetup) -> redis.Redis:
    return redis.Redis.from_url(celery_setup.broker.container.url, decode_responses=True)


def received(workers: list[LocalWorker]) -> list[int]:
    """How many jobs each of them has taken."""
    return [len(re.findall(r"palaver\.chat\[\S+ received", worker.running.output)) for worker in workers]


def shares(workers: list[LocalWorker]) -> list[int]:
    """How many jobs each of them has run."""
    return [len(re.findall(r"job\.ended ", worker.running.output)) for worker in workers]


class TestSlots:
    @pytest.fixture
    def worker_options(self, worker_options: tuple[str, ...]) -> tuple[str, ...]:
        return (*worker_options, "--loglevel", "DEBUG")  # which tells of each job that is taken

    def test_no_worker_holds_more_than_its_slots_and_a_new_one_takes_the_rest(
        self, celery_setup: CeleryTestSetup, start_worker: StartWorker, client: Client
    ) -> None:
        workers = [celery_setup.worker.container, start_worker()]
        handles = client.submit_many(
            [{"messages": json.dumps({"endless": True, "rate": 1})} for _ in range(60)]
        )
        assert eventually(lambda: received(workers) == [20, 20])
        workers.append(start_worker())
        assert eventually(lambda: received(workers) == [20, 20, 20])
        # A job that is received and has not begun ends without a word of its worker.
        assert eventually(lambda: all(handle.status is Status.RUNNING for handle in handles))
        for handle in handles:
            assert handle.cancel() is Status.RUNNING
        assert eventually(lambda: shares(workers) == [20, 20, 20])


def test_two_workers_run_a_fair_share_each(
    celery_setup: CeleryTestSetup, start_worker: StartWorker, client: Client
) -> None:
    workers = [celery_setup.worker.container, start_worker()]
    # Long ones: while one worker stands still, the other gets no more than its slots.
    handles = client.submit_many([{"messages": script(8, 5)} for _ in range(200)])
    for handle in handles:
        handle.result(timeout=60)
    assert eventually(lambda: sum(shares(workers)) == 200)
    assert min(shares(workers)) >= 60, shares(workers)


class TestOneSlot:
    @pytest.fixture
    def worker_options(self) -> tuple[str, ...]:
        return ("--concurrency", "1", "--without-mingle")

    def test_queues_are_served_in_their_order(
        self, celery_setup: CeleryTestSetup, client: Client, ledger: redis.Redis
    ) -> None:
        blocker = client.submit(json.dumps({"endless": True, "rate": 20}))
        assert eventually(lambda: client.job(blocker.job_id).status == Status.RUNNING)
        handles = {
            priority: client.submit("hello", session_id=f"p{priority}", priority=priority)
            for priority in (0, 5, 9)
        }
        resumed = client.submit("hello", session_id="resumed", priority=0)
        # as a hand-over would: the job's message on the queue of resumed jobs
        (message,) = (sent for sent in ledger.lrange("palaver.low", 0, -1) if resumed.job_id in sent)
        assert isinstance(message, str)
        ledger.lrem("palaver.low", 1, message)
        ledger.lpush("palaver.resume", message)
        assert eventually(lambda: not ledger.llen("palaver.resume"))  # it waits in the worker
        blocker.cancel()
        for handle in (*handles.values(), resumed):
            handle.result(timeout=60)
        worker = celery_setup.worker.container.running
        worker.wait_for(f"job.ended .*job_id={handles[0].job_id}")
        order = [line.split("job_id=")[1].split()[0] for line in worker.lines if "job.ended" in line][1:]
        assert order == [resumed.job_id, *(handles[priority].job_id for priority in (9, 5, 0))]


def test_a_drained_worker_hands_its_streams_over(
    celery_setup: CeleryTestSetup, start_worker: StartWorker, client: Client
) -> None:
    first, second = celery_setup.worker.container.running, start_worker("--queues", "palaver.resume")
    handles = [client.submit(script(200, 25), session_id=f"s{number}") for number in range(3)]
    assert eventually(lambda: all(handle.status == Status.RUNNING for handle in handles))
    first.signal(signal.SIGTERM)
    first.wait_for("Warm shutdown")
    first.signal(signal.SIGTERM)
    assert first.wait(30) == 0
    assert "destroyed" not in first.output
    want = "".join(f" w{number}" for number in range(200))
    for handle in handles:
        assert handle.result(timeout=60).content == want
        events = list(handle.events(after=0))
        assert Counter(event.type for event in events)["stream_end"] == 1
    assert eventually(lambda: shares([second]) == [3])


def test_a_job_that_runs_and_is_revoked_is_cancelled_by_who_is_to_go_on_with_it(
    celery_setup: CeleryTestSetup, start_worker: StartWorker, client: Client, control: Control
) -> None:
    first = celery_setup.worker.container.running
    handle = client.submit(json.dumps({"endless": True, "rate": 20}))
    assert eventually(lambda: handle.status == Status.RUNNING)
    start_worker()  # only now: it could have had the job
    assert eventually(lambda: len(control.ping(limit=2, timeout=1) or ()) == 2)  # it hears
    assert len(control.revoke(handle.job_id, reply=True, limit=2, timeout=10) or ()) == 2
    first.signal(signal.SIGTERM)
    first.wait_for("Warm shutdown")
    assert not handle.status.ended
    first.signal(signal.SIGTERM)
    assert eventually(lambda: handle.status == Status.CANCELLED)
    assert list(handle.events(after=0))[-1].type == "stream_end"


def test_a_short_stream_is_not_handed_over(celery_setup: CeleryTestSetup, client: Client) -> None:
    worker = celery_setup.worker.container.running
    handle = client.submit(script(60, 15))
    assert eventually(lambda: handle.status == Status.RUNNING)
    worker.signal(signal.SIGTERM)
    assert handle.result(timeout=30).content
    assert worker.wait(30) == 0


def test_a_cold_shutdown_hands_over_too(
    celery_setup: CeleryTestSetup, start_worker: StartWorker, client: Client
) -> None:
    first = celery_setup.worker.container.running
    handle = client.submit(script(200, 50))
    assert eventually(lambda: handle.status == Status.RUNNING)
    first.signal(signal.SIGQUIT)
    first.wait(30)
    start_worker()
    assert handle.result(timeout=60).content == "".join(f" w{number}" for number in range(200))


@pytest.mark.parametrize("variable", ["PALAVER_REDIS_URL", "PALAVER_BROKER_URL"])
def test_nobody_there_is_one_line_and_exit_code_three(
    processes: Processes, palaver_env: dict[str, str], variable: str
) -> None:
    url = f"redis://:sesame@127.0.0.1:{free_port()}/0"
    worker = processes.python("-m", "palaver.workers", env={**palaver_env, variable: url})
    began = time.monotonic()
    assert worker.wait(30) == 3
    assert time.monotonic() - began < 15
    (line,) = worker.lines
    assert f"{url.replace('sesame', '***')} cannot be reached: connection refused" in line
    assert "sesame" not in line


def test_wrong_settings_are_one_line(processes: Processes, palaver_env: dict[str, str]) -> None:
    worker = processes.python("-m", "palaver.workers", env={**palaver_env, "PALAVER_CONCURRENCY": "none"})
    assert worker.wait(30) == 2
    (line,) = worker.lines
    assert "PALAVER_CONCURRENCY" in line


def test_wrong_settings_are_one_line_of_the_celery_command_too(
    processes: Processes, palaver_env: dict[str, str]
) -> None:
    words = ("-m", "celery", "-A", "palaver.workers", "worker")
    worker = processes.python(*words, env={**palaver_env, "PALAVER_CONCURRENCY": "none"})
    assert worker.wait(30) == 2
    assert worker.lines[-1].startswith("Error: PALAVER_CONCURRENCY: must be")
    assert "Traceback" not in worker.output


def test_wrong_options_are_told(processes: Processes, palaver_env: dict[str, str]) -> None:
    worker = processes.python("-m", "palaver.workers", "--no-such-option", env=palaver_env)
    assert worker.wait(30) == 2
    assert "--no-such-option" in worker.output
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("words", [["--pool", "prefork"], ["--pool=solo"], ["-P", "prefork"], ["-Pprefork"]])
def test_another_pool_is_refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--pool" in line


def test_celery_alone_starts_the_right_worker(processes: Processes, palaver_env: dict[str, str]) -> None:
    words = ("-m", "celery", "-A", "palaver.workers", "worker", "--loglevel", "INFO")
    worker = processes.python(*words, env=palaver_env)
    worker.wait_for(r" ready\.$", seconds=60)
    client = Client(Settings(redis_url=palaver_env["PALAVER_REDIS_URL"]))
    handle = client.submit("hello")
    assert handle.result(timeout=30).content == "hello"
    client.close()
    ended = rf"job\.ended session_id={handle.session_id} job_id={handle.job_id} attempt=1 model=scripted/echo"
    worker.wait_for(rf"{ended} status=completed$")
    assert worker.stop() == 0
    assert re.search(r"worker\.draining worker=\S+ jobs=0 ", worker.output)


def test_celerys_restart_lets_streams_end_and_begins_again(
    processes: Processes, palaver_env: dict[str, str]
) -> None:
    words = ("palaver", "worker", "--without-mingle", "--concurrency", "7")
    running = processes.start(words, name="worker", env=palaver_env)
    running.wait_for(r"\bready\b", seconds=60)
    settings = Settings(redis_url=palaver_env["PALAVER_REDIS_URL"])
    with Client(settings) as client, SyncLedger(settings) as ledger:
        job = client.submit(script(60, 10), model="scripted/echo")
        next(iter(job))
        running.forget()
        running.signal(signal.SIGHUP)
        ended = running.wait_for(r"job.ended .*attempt=(\d+)")
        assert ended[1] == "1"
        running.wait_for(r"\bready\b", seconds=60)
        assert eventually(lambda: [each.data["slots"] for each in ledger.workers()] == [7])


def test_a_worker_that_is_to_end_after_all_does_not_begin_again(
    processes: Processes, palaver_env: dict[str, str]
) -> None:
    running = processes.start(("palaver", "worker"), name="worker", env=palaver_env)
    running.wait_for(r"\bready\b", seconds=60)
    with Client(Settings(redis_url=palaver_env["PALAVER_REDIS_URL"])) as client:
        job = client.submit(script(2000, 20), model="scripted/echo")
        next(iter(job))
        running.signal(signal.SIGHUP)
        running.wait_for("Restarting celery worker")
        running.signal(signal.SIGTERM)
        running.wait_for("Warm shutdown")
        job.cancel()
    assert running.wait(60) == 0
    running.drained()
    assert len(re.findall(r"\bready\b", running.output)) == 1
