"""This version beside the release before it: workers, producers and readers of both, on one Redis."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from palaver.shared.jobs import Status
from tests.faults.stand import Stand, ready
from tests.processes import ROOT, Processes, clean_environment
from tests.servers import IN_TIME, RedisServer
from tests.upgrades.release import Release, previous

pytestmark = [pytest.mark.upgrades, pytest.mark.redis, pytest.mark.worker]

TEXT = "".join(f" w{number}" for number in range(30))

TALK = [" w0", " w1"]
"""Two turns of a session: the provider counts on from what it is told that it has said."""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Release:
    release = previous(tmp_path_factory.mktemp("release"))
    print(f"beside {release.ref}: {release.why}")
    return release


@pytest.fixture
def stand(processes: Processes, redis_server: RedisServer) -> Iterator[Stand]:
    with Stand(processes, redis_server) as stand:
        yield stand


def test_its_worker_does_the_jobs_of_this_producer(stand: Stand, old: Release) -> None:
    stand.workers(1, env=old.environment)
    jobs = stand.submit(20, words=30, rate=100)
    stand.settle(jobs)
    talk = [stand.client.submit(json.dumps({"n": n}), model="prefix/m", session_id="talk") for n in (1, 2)]
    assert [job.result(timeout=IN_TIME).content for job in talk] == TALK
    endless = stand.submit(1, words=2000)
    stand.streaming(endless)
    endless[0].handle.cancel()
    stand.settle(endless, status=Status.CANCELLED)
    again = stand.client.retry(jobs[0].id)
    assert again.result(timeout=IN_TIME).content == TEXT


def test_this_worker_does_the_jobs_of_its_producer(stand: Stand, old: Release) -> None:
    stand.workers(1)
    done = subprocess.run(
        (sys.executable, Path(__file__).with_name("old_producer.py"), "prefix/m"),
        env=clean_environment(stand.environment | old.environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["from"].startswith(str(old.folder))
    assert said["texts"] == [TEXT] * 10
    assert (said["kinds"][0], said["kinds"][-1]) == ("job_queued", "stream_end")
    assert said["talk"] == TALK
    assert said["cancelled"] == "cancelled"
    # What it has asked under a key is the same job for this version.
    repeated = stand.client.submit('{"n": 3}', model="prefix/m", idempotency_key="once")
    assert repeated.job_id == said["keyed"]
    assert repeated.result(timeout=IN_TIME).content == " w0 w1 w2"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["drained", "killed"])
@pytest.mark.parametrize("way", ["update", "back"])
def test_streams_go_on_at_a_worker_of_the_other_version(
    stand: Stand, old: Release, way: str, how: signal.Signals
) -> None:
    versions = [old.environment, {}] if way == "update" else [{}, old.environment]
    leaving, following = (stand.start_worker(env=version) for version in versions)
    ready(leaving)
    ready(following)
    jobs = stand.submit(20, words=200, rate=20)
    stand.streaming(jobs)
    held = stand.held(jobs, leaving)
    leaving.signal(how)
    more = stand.submit(10, words=20, rate=20)
    books = stand.settle([*jobs, *more], seconds=120)
    assert held
    assert all(len(books.attempts(job)) == 2 for job in held)


def test_what_runs_is_the_release(old: Release) -> None:
    done = subprocess.run(
        (
            sys.executable,
            "-c",
            "import palaver.shared as s, palaver.producer as p, palaver.workers as w;"
            "print(s.__file__, p.__file__, w.__file__)",
        ),
        cwd=ROOT,
        env=clean_environment(old.environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert all(path.startswith(str(old.folder)) for path in done.stdout.split())
