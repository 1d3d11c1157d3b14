"""How a worker ends: warm, out of time to drain, at a second signal, cold, and when its loop crashes."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery

from palaver.workers.pool.bridge import WRITERS
from tests.integration.pool.conftest import ALONE, APP, Workers
from tests.processes import Processes
from tests.servers import RedisServer, eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker]


def test_a_warm_shutdown_waits_for_what_runs(workers: Workers) -> None:
    worker = workers.start("--concurrency", "4")
    results = [workers.send("nap", 1), workers.send("early", 1), workers.send("threaded", 1)]
    for words in (f"SAYS begun {results[0].id}", "SAYS early begun", "SAYS threaded begun"):
        worker.wait_for(words)
    worker.signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert [result.get(timeout=5) for result in results][:2] == [results[0].id, "done"]
    assert workers.queued() == 0


def test_after_the_time_to_drain_messages_go_back(workers: Workers) -> None:
    worker = workers.start("--concurrency", "4", env={"USER_DRAIN": "0.5"})
    late, early = workers.send("nap", 600), workers.send("early", 3)
    worker.wait_for("SAYS early begun")
    worker.wait_for(f"SAYS begun {late.id}")
    worker.signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert early.get(timeout=5) == "done", "it was acknowledged, so nobody else would do it"
    assert f"SAYS cancelled {late.id}" in worker.output
    assert workers.queued() == 1


def test_what_nobody_misses_is_not_waited_for_after_the_time_to_drain(workers: Workers) -> None:
    worker = workers.start("--concurrency", "4", env={"USER_DRAIN": "0.5"})
    workers.send("spare", 600)
    worker.wait_for("SAYS spare begun")
    worker.signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert "SAYS spare cancelled" in worker.output
    assert "left_behind" not in worker.output
    assert workers.queued() == 0


@pytest.mark.parametrize("results", [1, 8])
def test_a_result_that_nobody_takes_does_not_hold_a_worker_that_stops(workers: Workers, results: int) -> None:
    worker = workers.start("--concurrency", "16", env={"USER_DRAIN": "0", "USER_RESULT_SECONDS": "60"})
    for number in range(results):
        workers.send("noted", number)
    assert eventually(lambda: worker.output.count("SAYS storing") == min(results, WRITERS))
    workers.send("resultless")
    worker.wait_for(r"resultless\S+ succeeded")
    worker.signal(signal.SIGTERM)
    assert worker.wait(12) == 0
    assert "left_behind" not in worker.output
    assert workers.queued() == results


def test_a_second_signal_waits_no_longer(workers: Workers) -> None:
    worker = workers.start("--concurrency", "4")
    nap = workers.send("nap", 600)
    worker.wait_for(f"SAYS begun {nap.id}")
    worker.signal(signal.SIGTERM)
    worker.wait_for("Warm shutdown")
    worker.signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert workers.queued() == 1
    again = workers.start("--concurrency", "4")
    again.wait_for(f"SAYS begun {nap.id}")


def test_a_second_signal_inside_the_first_ones_handler(workers: Workers) -> None:
    worker = workers.start("--concurrency", "4", env={"USER_IMPATIENCE": "1"})
    nap = workers.send("nap", 600)
    worker.wait_for(f"SAYS begun {nap.id}")
    worker.signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert worker.output.count("Warm shutdown") == 2
    assert workers.queued() == 1


def test_a_cold_shutdown_gives_messages_back(workers: Workers) -> None:
    worker = workers.start("--concurrency", "4")
    nap = workers.send("nap", 600)
    worker.wait_for(f"SAYS begun {nap.id}")
    worker.signal(signal.SIGQUIT)
    worker.wait(30)
    assert f"SAYS cancelled {nap.id}" in worker.output
    assert workers.queued() == 1
    assert "destroyed" not in worker.output


def test_a_soft_shutdown_lets_short_tasks_finish(workers: Workers) -> None:
    worker = workers.start("--concurrency", "4", env={"USER_SOFT_SHUTDOWN": "3"})
    short, long = workers.send("nap", 1), workers.send("nap", 600)
    worker.wait_for(f"SAYS begun {short.id}")
    worker.wait_for(f"SAYS begun {long.id}")
    worker.signal(signal.SIGQUIT)
    worker.wait(30)
    assert short.get(timeout=5) == short.id
    assert f"SAYS cancelled {long.id}" in worker.output
    assert workers.queued() == 1


def test_a_crash_of_the_loop_ends_the_process(workers: Workers) -> None:
    worker = workers.start("--concurrency", "4")
    workers.send("break_the_loop")
    assert worker.wait(30) != 0
    assert workers.queued() == 1, "the message went back"


def test_a_restart_of_the_broker(own_redis: Callable[..., RedisServer], processes: Processes) -> None:
    """Nothing that runs is lost or run again, what ends meanwhile is acknowledged, and the worker goes on."""
    server = own_redis("--appendonly", "yes")
    words = ("-m", "celery", "-A", APP, "worker", "--loglevel", "INFO", "--concurrency", "4", *ALONE)
    worker = processes.python(*words, name="worker", env={"USER_BROKER": server.url})
    worker.wait_for(r" ready\.$", seconds=60)
    client = Celery("client", broker=server.url, set_as_current=False)
    naps = [client.send_task(f"{APP}.nap", args=(seconds,)) for seconds in (1, 6)]
    for nap in naps:
        worker.wait_for(f"SAYS begun {nap.id}")
    assert server.running is not None
    server.running.stop()
    worker.wait_for("Connection to broker lost")
    again = own_redis("--appendonly", "yes", port=server.port)
    for nap in naps:
        worker.wait_for(f"nap.{nap.id}. succeeded")
    client.send_task(f"{APP}.quick", args=(1,))
    worker.wait_for(r"quick\S+ succeeded")
    with again.client() as broker:
        assert eventually(lambda: broker.hlen("unacked") == 0)
        assert broker.llen("celery") == 0
    assert worker.output.count("SAYS begun") == 2
    assert worker.stop() == 0


def test_connections_are_cut_and_the_broker_is_there(workers: Workers) -> None:
    """What runs is acknowledged over the next ones, and not run again; what has not begun goes back."""
    worker = workers.start("--concurrency", "4")
    naps = [workers.send("nap", seconds) for seconds in (1, 4)]
    for nap in naps:
        worker.wait_for(f"SAYS begun {nap.id}")
    later = workers.send("quick", 1, countdown=3)
    worker.wait_for(f"quick.{later.id}. received")
    with workers.broker() as broker:
        for kind in ("normal", "pubsub"):
            broker.client_kill_filter(_type=kind)
        worker.wait_for("Connection to broker lost")
        for nap in naps:
            worker.wait_for(f"nap.{nap.id}. succeeded")
        worker.wait_for(f"quick.{later.id}. succeeded")
        assert eventually(lambda: broker.hlen("unacked") == 0)
    assert workers.queued() == 0
    assert worker.output.count("SAYS begun") == 2
    assert worker.output.count(" succeeded in ") == 3
    assert worker.stop() == 0


def test_what_ends_as_connections_are_cut_is_not_run_again(
    own_redis: Callable[..., RedisServer], processes: Processes, tmp_path: Path
) -> None:
    """Celery knows that it has, and the broker does not yet."""
    server, pipe = own_redis(), tmp_path / "pipe"
    os.mkfifo(pipe)
    words = ("-m", "celery", "-A", APP, "worker", "--loglevel", "INFO", "--concurrency", "4", *ALONE)
    included = ("--include", "tests.integration.app.hanging")
    worker = processes.python(*words, *included, name="worker", env={"USER_BROKER": server.url})
    worker.wait_for(r" ready\.$", seconds=60)
    client = Celery("client", broker=server.url, set_as_current=False)
    naps = [client.send_task(f"{APP}.nap", args=(1,)) for _ in range(3)]
    for nap in naps:
        worker.wait_for(f"SAYS begun {nap.id}")
    assert eventually(lambda: client.control.inspect(timeout=1, limit=1).ping())
    client.control.broadcast("hang", arguments={"pipe": str(pipe)})
    for nap in naps:
        worker.wait_for(f"SAYS slept {nap.id}")
    with server.client() as broker:
        for kind in ("normal", "pubsub"):
            broker.client_kill_filter(_type=kind)
        pipe.write_bytes(b"go on")
        worker.wait_for("Connection to broker lost")
        for nap in naps:
            worker.wait_for(f"nap.{nap.id}. succeeded")
        assert eventually(lambda: broker.hlen("unacked") == 0)
        assert broker.llen("celery") == 0
    assert worker.stop() == 0
    assert worker.output.count("SAYS begun") == 3


def test_one_that_leaves_between_two_connections_gives_back_what_it_has(
    own_redis: Callable[..., RedisServer], processes: Processes
) -> None:
    server = own_redis("--appendonly", "yes")
    words = ("-m", "celery", "-A", APP, "worker", "--loglevel", "INFO", "--concurrency", "4", *ALONE)
    env = {"USER_BROKER": server.url, "USER_DRAIN": "5"}
    worker = processes.python(*words, name="worker", env=env)
    worker.wait_for(r" ready\.$", seconds=60)
    client = Celery("client", broker=server.url, set_as_current=False)
    nap = client.send_task(f"{APP}.nap", args=(600,))
    worker.wait_for(f"SAYS begun {nap.id}")
    assert server.running is not None
    server.running.stop()
    worker.wait_for("Cannot connect to")
    worker.signal(signal.SIGTERM)
    worker.wait_for("Warm shutdown")
    again = own_redis("--appendonly", "yes", port=server.port)
    assert worker.wait(30) == 0
    assert f"SAYS cancelled {nap.id}" in worker.output
    with again.client() as broker:
        assert broker.hlen("unacked") == 0
        assert broker.llen("celery") == 1


def test_a_broker_without_an_event_loop(processes: Processes, tmp_path: Path) -> None:
    """Celery then has no hub to wake; acknowledgements and results must arrive all the same."""
    messages, sent = tmp_path / "messages", tmp_path / "sent"
    messages.mkdir()
    sent.mkdir()
    # without a folder of its own for them, kombu keeps the exchanges in the current one
    folders = {
        "data_folder_in": str(messages),
        "data_folder_out": str(messages),
        "control_folder": str(tmp_path / "control"),
        "polling_interval": 0.05,  # seconds; a whole one between two messages otherwise
    }
    environment = {"USER_BROKER": "filesystem://", "USER_TRANSPORT": json.dumps(folders)}
    words = ("-m", "celery", "-A", APP, "worker", "--loglevel", "INFO", "--concurrency", "4", *ALONE)
    worker = processes.python(*words, name="worker", env=environment)
    worker.wait_for(r" ready\.$", seconds=60)
    client = Celery("client", broker="filesystem://", set_as_current=False)
    client.conf.broker_transport_options = {**folders, "data_folder_out": str(sent)}

    def send(seconds: float) -> str:
        """Put a message where the worker looks, when it is written: kombu reads what it finds."""
        task_id = str(client.send_task(f"{APP}.nap", args=(seconds,)).id)
        (message,) = sent.iterdir()
        message.rename(messages / message.name)
        return task_id

    for _ in range(6):
        send(0.1)
    assert eventually(lambda: worker.output.count("succeeded in") == 6)
    worker.wait_for(f"SAYS begun {send(1)}")
    worker.signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert worker.output.count("succeeded in") == 7
    assert list((tmp_path / "control").iterdir())
