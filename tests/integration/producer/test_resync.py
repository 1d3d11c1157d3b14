"""Where the log is gone, a reader is told of every job by what the ledger has of it, or that it has none."""

import time
from collections.abc import Callable

import pytest

from palaver.producer import Client, JobHandle
from palaver.shared.accumulator import accumulate
from palaver.shared.errors import JobLostError
from palaver.shared.events import AnyEvent, Resync, StreamEnd, WarningEvent
from palaver.shared.jobs import Status
from palaver.shared.ledger import Keys
from palaver.shared.settings import Settings
from tests.integration.producer.stand_in import PIECES, StandIn
from tests.servers import RedisServer

WorkOn = Callable[[JobHandle], StandIn]
TEXT = "".join(PIECES)


def test_a_trimmed_log_gives_one_resync_and_goes_on(
    client: Client, settings: Settings, work_on: WorkOn, redis_server: RedisServer
) -> None:
    handle = client.submit("Hello", session_id="s1")
    worker = work_on(handle)
    worker.start()
    worker.say(*PIECES)
    with redis_server.client() as trimmer:
        trimmer.xtrim(Keys(settings.namespace).events("s1"), maxlen=3, approximate=False)
    reading = handle.events()
    resync = next(reading)
    assert isinstance(resync, Resync)
    assert (resync.data.text, resync.data.status) == (TEXT, Status.RUNNING)
    assert resync.seq == resync.data.seq == 2 + len(PIECES)
    worker.say("more")
    worker.complete()
    rest = list(reading)
    assert [event.seq for event in rest] == [resync.seq + 1, resync.seq + 2]
    assert accumulate([resync, *rest]).text == TEXT + "more"


def test_a_session_reader_gets_one_resync_for_each_job_concerned(
    client: Client, settings: Settings, work_on: WorkOn, redis_server: RedisServer
) -> None:
    done, active, waiting = (client.submit(text, session_id="s1") for text in ("a", "b", "c"))
    work_on(done).answer(["done"])
    worker = work_on(active)
    worker.start()
    worker.say("half")
    with redis_server.client() as trimmer:
        trimmer.xtrim(Keys(settings.namespace).events("s1"), maxlen=5, approximate=False)
    reading = client.events("s1")
    made = [next(reading) for _ in range(4)]
    worker.say(" way")
    live = next(reading)
    reading.close()
    resyncs = {event.job_id: event.data.text for event in made if isinstance(event, Resync)}
    assert resyncs == {done.job_id: "done", active.job_id: "half", waiting.job_id: ""}
    assert [event.job_id for event in made if isinstance(event, StreamEnd)] == [done.job_id]
    assert (live.job_id, live.seq) == (active.job_id, made[-1].seq + 1)


def test_after_its_log_is_gone_a_job_answers_from_its_document(
    client: Client, settings: Settings, work_on: WorkOn, redis_server: RedisServer
) -> None:
    handle = client.submit("Hello")
    response = work_on(handle).answer()
    with redis_server.client() as remover:
        remover.delete(Keys(settings.namespace).events(handle.session_id))
    resync, end = handle.events()
    assert isinstance(resync, Resync)
    assert isinstance(end, StreamEnd)
    assert resync.data.text == TEXT
    assert end.data.response == response
    assert "".join(chunk.delta for chunk in handle) == TEXT
    assert handle.result() == response


def test_a_session_reader_whose_log_is_gone_is_told_of_every_job_and_goes_on(
    client: Client, settings: Settings, work_on: WorkOn, redis_server: RedisServer
) -> None:
    seen = client.submit("before it left", session_id="s1")
    work_on(seen).answer(["seen"])
    left_after = list(seen.events())[-1].seq
    missed = [client.submit(text, session_id="s1") for text in ("a", "b")]
    responses = {job.job_id: work_on(job).answer([f"{job.job_id}!"]) for job in missed}
    beside, active, waiting = (
        client.submit("c", session_id="s1", on_busy=on_busy) for on_busy in ("parallel", "enqueue", "enqueue")
    )
    parked = client.submit("d", session_id="s1", run_at=time.time() + 900)
    worker = work_on(beside)
    worker.start()
    worker.say("half")
    forget_log(redis_server, settings)
    reading = client.events("s1", after=left_after)
    made = [next(reading) for _ in range(8)]
    worker.say(" way")
    live = next(reading)
    reading.close()
    texts = {event.job_id: event.data.text for event in made if isinstance(event, Resync)}
    ends = {event.job_id: event.data.response for event in made if isinstance(event, StreamEnd)}
    unended = {beside.job_id: "half", active.job_id: "", waiting.job_id: "", parked.job_id: ""}
    assert texts == {job_id: f"{job_id}!" for job_id in responses} | unended
    assert ends == responses
    assert list(texts)[:2] == [job.job_id for job in missed], "what ended comes first, in its order"
    assert (live.job_id, live.seq) == (beside.job_id, made[-1].seq + 1)


def test_who_stops_among_the_resyncs_is_told_again(
    client: Client, settings: Settings, work_on: WorkOn, redis_server: RedisServer
) -> None:
    for text in ("a", "b", "c"):
        work_on(client.submit(text, session_id="s1")).answer([text])
    forget_log(redis_server, settings)
    told: list[AnyEvent] = []
    for stops_after in range(1, 7):
        reading = client.events("s1")
        told = [next(reading) for _ in range(stops_after)]
        reading.close()
        assert told[-1].seq == 0 or stops_after == 6
    assert [event.data.text for event in told if isinstance(event, Resync)] == ["a", "b", "c"]
    client.submit("d", session_id="s1")
    reading = client.events("s1", after=told[-1].seq)
    assert next(reading).type == "job_queued"
    reading.close()


def test_a_session_reader_is_warned_where_nobody_knows_what_it_missed(
    client: Client, settings: Settings, work_on: WorkOn, redis_server: RedisServer
) -> None:
    work_on(client.submit("Hello", session_id="s1")).answer()
    forget_log(redis_server, settings)
    with redis_server.client() as remover:
        remover.delete(Keys(settings.namespace).jobs("s1"))
    later = client.submit("Hello again", session_id="s1")
    reading = client.events("s1")
    warning, resync = next(reading), next(reading)
    reading.close()
    assert isinstance(warning, WarningEvent)
    assert (warning.data.code, warning.job_id) == ("jobs_forgotten", "")
    assert (resync.type, resync.job_id) == ("resync", later.job_id)
    assert accumulate([warning, resync]).job_id == later.job_id


def test_a_session_reader_is_told_of_a_job_that_redis_lost(
    client: Client, settings: Settings, work_on: WorkOn, redis_server: RedisServer
) -> None:
    lost, kept = (client.submit(text, session_id="s1", on_busy="parallel") for text in "ab")
    for job in (lost, kept):
        work_on(job).start()
    reading = client.events("s1")
    for _ in range(4):
        next(reading)
    with redis_server.client() as redis:
        redis.delete(Keys(settings.namespace).job("s1", lost.job_id))
        redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    end, resync = next(reading), next(reading)
    reading.close()
    assert isinstance(end, StreamEnd)
    assert (end.job_id, end.data.status) == (lost.job_id, Status.FAILED)
    assert isinstance(accumulate([end]).error, JobLostError)
    assert (resync.type, resync.job_id) == ("resync", kept.job_id)


def forget_log(redis_server: RedisServer, settings: Settings) -> None:
    """As after its retention: the log of s1 is gone."""
    with redis_server.client() as remover:
        remover.delete(Keys(settings.namespace).events("s1"))


def test_what_redis_lost_is_found_after_a_reconnect(
    client: Client, settings: Settings, work_on: WorkOn, redis_server: RedisServer
) -> None:
    handle = client.submit("Hello", session_id="s1")
    worker = work_on(handle)
    worker.start()
    worker.say("kept ")
    keys = Keys(settings.namespace)
    with redis_server.client() as redis:
        before = {key: redis.dump(key) for key in redis.keys(keys.base("s1") + "*")}
        worker.say("lost ")
        reading = handle.events()
        seen = [next(reading) for _ in range(4)]
        for key, value in before.items():  # as a failover to a replica that was behind
            redis.restore(key, 0, value, replace=True)
        StandIn.say(_again(worker, attempt_next=3), "other ")
        redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        resync = next(reading)
    reading.close()
    assert accumulate(seen).text == "kept lost "
    assert isinstance(resync, Resync)
    assert resync.data.text == "kept other "


def _again(worker: StandIn, *, attempt_next: int) -> StandIn:
    worker._next = attempt_next
    return worker


def test_a_job_that_redis_lost_is_said_to_be_lost(
    client: Client, settings: Settings, work_on: WorkOn, redis_server: RedisServer
) -> None:
    handle = client.submit("Hello")
    work_on(handle).start()
    reading = handle.events()
    next(reading)
    with redis_server.client() as redis:
        redis.delete(*redis.keys(settings.namespace + "*"))
        redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    with pytest.raises(JobLostError):
        list(reading)
