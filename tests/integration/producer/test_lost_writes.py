"""A session whose past was lost: its readers are told of every job that the rest of the log holds."""

from collections.abc import Callable, Generator, Sequence
from itertools import islice

import pytest

from palaver.producer import Client, JobHandle
from palaver.shared.accumulator import accumulate
from palaver.shared.events import AnyEvent, Resync
from palaver.shared.ledger import Keys
from palaver.shared.settings import Settings
from tests.integration.producer.stand_in import StandIn
from tests.servers import RedisServer

WorkOn = Callable[[JobHandle], StandIn]
Reading = Generator[AnyEvent, None, None]


@pytest.fixture
def answered(client: Client, work_on: WorkOn) -> Callable[[str], JobHandle]:
    """A job of session s1 with this answer: four events."""

    def answer(text: str) -> JobHandle:
        handle = client.submit("Hello", session_id="s1")
        work_on(handle).answer([text])
        return handle

    return answer


@pytest.fixture
def lose_everything(settings: Settings, redis_server: RedisServer) -> Callable[[], None]:
    """What a failover to an empty replica does to the session and its readers."""

    def lose() -> None:
        with redis_server.client() as redis:
            redis.delete(*redis.keys(Keys(settings.namespace).base("s1") + "*"))
            redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    return lose


def texts(events: Sequence[AnyEvent]) -> dict[str, str]:
    """What a consumer has of each job."""
    jobs = dict.fromkeys(event.job_id for event in events)
    return {job: accumulate([event for event in events if event.job_id == job]).text for job in jobs}


def resyncs(reading: Reading, count: int) -> list[AnyEvent]:
    """The next `count` resyncs, each with the end of its job behind it."""
    events = list(islice(reading, 2 * count))
    assert [event.type for event in events] == ["resync", "stream_end"] * count
    return events


def test_jobs_that_a_shorter_log_holds_are_told_by_a_resync_each(
    client: Client, answered: Callable[[str], JobHandle], lose_everything: Callable[[], None]
) -> None:
    for number in range(5):
        answered(f"before {number}")
    reading = client.events("s1")
    assert [event.seq for event in islice(reading, 20)] == list(range(1, 21))

    lose_everything()
    jobs = {answered(text).job_id: text for text in ("one", "two", "three")}
    assert texts(resyncs(reading, 3)) == jobs

    later = answered("four")
    assert {event.job_id for event in islice(reading, 4)} == {later.job_id}
    reading.close()


def test_jobs_of_a_log_that_has_grown_past_the_cursor_again(
    client: Client, answered: Callable[[str], JobHandle], lose_everything: Callable[[], None]
) -> None:
    answered("before")
    reading = client.events("s1")
    list(islice(reading, 4))

    lose_everything()
    jobs = {answered(text).job_id: text for text in ("one", "two", "three")}
    assert texts(resyncs(reading, 3)) == jobs
    reading.close()


def test_a_cursor_that_the_session_never_had(client: Client, answered: Callable[[str], JobHandle]) -> None:
    job = answered("whole")
    reading = client.events("s1", after=9999)
    resync, end = resyncs(reading, 1)
    assert isinstance(resync, Resync)
    assert (resync.job_id, resync.data.text) == (job.job_id, "whole")
    assert resync.seq == end.seq == 4

    later = answered("next")
    assert [(event.job_id, event.seq) for event in islice(reading, 4)] == [
        (later.job_id, seq) for seq in range(5, 9)
    ]
    reading.close()
