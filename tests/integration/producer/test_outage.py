"""A Redis that goes while somebody reads: the reader waits for it, and not for ever."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import pytest

from palaver.producer import Client, JobHandle, idle, reader
from palaver.shared.errors import LedgerUnavailableError
from palaver.shared.settings import Settings
from tests.integration.producer.stand_in import PIECES, StandIn
from tests.servers import RedisServer

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


@dataclass
class Clock:
    """The reader's own, which the test advances."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def server(own_redis: Callable[..., RedisServer]) -> RedisServer:
    return own_redis(*DURABLE)


def worker_of(handle: JobHandle, server: RedisServer) -> StandIn:
    return StandIn.claim(Settings(redis_url=server.url), handle.session_id, handle.job_id)


def test_a_reader_that_has_everything_gives_up_a_redis_that_stays_away(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the pauses in which a lost subscription is made again.
    monkeypatch.setattr(idle, "SILENCE_SECONDS", 1.5)
    monkeypatch.setattr(reader, "OUTAGE_SECONDS", 1.0)
    with Client(redis_url=server.url) as client:
        handle = client.submit("Hello")
        worker = worker_of(handle, server)
        events = handle.events()
        next(events)
        worker.start()
        for piece in PIECES:  # until it needs nothing but what comes live
            worker.say(piece)
            while next(events).type != "text_chunk":
                pass
        assert server.running is not None
        server.running.kill()
        with pytest.raises(LedgerUnavailableError, match=str(server.port)):
            next(events)


def test_the_wait_for_redis_begins_with_its_last_word_and_is_told(
    server: RedisServer,
    own_redis: Callable[..., RedisServer],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    monkeypatch.setattr(idle, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(reader, "time", clock)
    with Client(redis_url=server.url) as client:
        handle = client.submit("Hello")
        worker = worker_of(handle, server)
        events = handle.events()
        next(events)
        worker.start()
        for piece in PIECES:  # for far longer than an outage may last, and all of it live
            worker.say(piece)
            while next(events).type != "text_chunk":
                pass
            clock.now += reader.OUTAGE_SECONDS
        assert server.running is not None
        server.running.kill()
        with ThreadPoolExecutor(1) as pool:
            rest = pool.submit(list, events)
            assert not wait([rest], timeout=1).done
            own_redis(*DURABLE, port=server.port)
            worker.complete()
            assert [event.type for event in rest.result(30)] == ["stream_end"]
    (told,) = [record.getMessage() for record in caplog.records if record.name == "palaver.producer"]
    assert told.startswith("reader_waits seconds=60: The ledger at redis://127.0.0.1")
