"""Both shells over a real connection: unknown scripts, cut connections, servers that are not there."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing

import hiredis
import pytest

from palaver.shared.errors import ConfigurationError, JobNotFoundError, LedgerUnavailableError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import AsyncLedger, Signal, Subscriptions, SyncLedger, operations
from palaver.shared.ledger.multiplexer import SHARED
from palaver.shared.ledger.places import CONNECTIONS
from palaver.shared.redis_commands import PIECE
from palaver.shared.settings import Settings
from tests.integration.ledger.world import World
from tests.servers import IN_TIME, RedisServer, come_to, free_port


@pytest.fixture
async def ledger(world: World) -> AsyncIterator[AsyncLedger]:
    ledger = AsyncLedger(world.settings)
    yield ledger
    await ledger.aclose()


class Cutter:
    """Stands before a Redis; cuts the connection instead of handing on a reply, as often as told.

    What Redis replies is handed on `delay` seconds later, and while `hands_on` is set. `asked` is set once
    something was.
    """

    def __init__(self, port: int) -> None:
        self.cuts = 0
        self.delay = 0.0
        self.hands_on = threading.Event()
        self.hands_on.set()
        self.asked = threading.Event()
        self._upstream = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            upstream = socket.create_connection(("127.0.0.1", self._upstream))
            for source, target, replies in ((client, upstream, False), (upstream, client, True)):
                threading.Thread(target=self._copy, args=(source, target, replies), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, replies: bool) -> None:
        try:
            while data := source.recv(65536):
                if replies and self.cuts:
                    self.cuts -= 1
                    break
                if replies:
                    time.sleep(self.delay)
                    self.hands_on.wait(30)
                else:
                    self.asked.set()
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


@pytest.fixture
def cutter(redis_server: RedisServer) -> Iterator[Cutter]:
    with closing(Cutter(redis_server.port)) as cutter:
        yield cutter


def through(cutter: Cutter, *, patience: float = IN_TIME) -> Settings:
    """Those of a ledger behind it, which waits so many seconds for a reply."""
    return Settings(redis_url=f"redis://127.0.0.1:{cutter.port}/0", connect_seconds=patience)


def test_a_reply_that_is_cut_off_makes_no_second_job(cutter: Cutter, redis_server: RedisServer) -> None:
    world = World(redis_server)
    job = ChatJob(messages="Hi", session_id="s1", idempotency_key="k")
    with SyncLedger(through(cutter)) as ledger:
        ledger.check()
        cutter.cuts = 1
        submitted = ledger.submit(job)
    assert submitted.created
    assert cutter.cuts == 0
    assert len(world.events()) == 1
    world.close()


async def test_the_async_shell_survives_it_too(cutter: Cutter, redis_server: RedisServer) -> None:
    ledger = AsyncLedger(through(cutter))
    await ledger.check()
    cutter.cuts = 1
    submitted = await ledger.submit(ChatJob(messages="Hi", session_id="s1"))
    assert (submitted.created, await ledger.seq("s1")) == (True, 1)
    await ledger.aclose()


async def test_who_asks_again_when_all_connections_have_just_answered_is_served() -> None:
    """Every connection is busy, and all replies come in one turn of the loop."""
    asked: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader()
        while data := await reader.read(1 << 16):
            commands.feed(data)
            while (command := commands.gets()) is not False:
                if command[0] != b"PING":
                    writer.write(b"+OK\r\n")
                    continue
                asked.append(writer)
                for waiting in asked if len(asked) == SHARED else asked[SHARED:][-1:]:
                    waiting.write(b"+PONG\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    answered = 0

    async def ask(ledger: AsyncLedger) -> None:
        nonlocal answered
        await ledger.check()
        answered += 1
        if answered == 1:
            await ledger.check()

    settings = Settings(redis_url=f"redis://127.0.0.1:{port}", connect_seconds=IN_TIME)
    async with AsyncLedger(settings) as ledger:
        asking = []
        for number in range(SHARED):
            asking.append(asyncio.create_task(ask(ledger)))
            while number + 1 < SHARED and len(asked) <= number:  # noqa: ASYNC110 - a connection is busy then
                await asyncio.sleep(0)
        async with asyncio.timeout(IN_TIME):
            await asyncio.gather(*asking)
    server.close()


def test_scripts_that_the_server_forgot_are_loaded_again(world: World) -> None:
    job = world.submit()
    world.raw.script_flush()
    world.claim(job)
    world.raw.script_flush()
    assert world.append(job, "a").last_taken == 1


def test_a_server_that_is_not_there_is_named_in_time_and_without_its_password() -> None:
    url = f"redis://user:geheim@127.0.0.1:{free_port()}/0"
    started = time.monotonic()
    with pytest.raises(LedgerUnavailableError, match="connection refused") as caught:
        SyncLedger(Settings(redis_url=url)).seq("s1")
    assert time.monotonic() - started < IN_TIME
    assert "geheim" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = Settings(redis_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0", connect_seconds=0.5)
        started = time.monotonic()
        with pytest.raises(LedgerUnavailableError, match="did not answer in time"):
            await AsyncLedger(settings).check()
        with pytest.raises(LedgerUnavailableError):
            SyncLedger(settings).check()
        assert time.monotonic() - started < IN_TIME


def test_a_url_of_something_else_is_a_configuration_error() -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"PALAVER_REDIS_URL: must be a redis://, rediss://, unix://, sentinel:// or sentinels:// URL",
    ):
        SyncLedger(Settings(redis_url="http://x", broker_url="redis://x"))


async def test_both_shells_see_the_same(world: World, ledger: AsyncLedger) -> None:
    await ledger.check()
    world.ledger.check()
    job = await ledger.submit(ChatJob(messages="Hi", session_id="s1"))
    world.claim(job)
    world.append(job, "text")
    assert await ledger.find(job.job_id) == world.ledger.find(job.job_id) == "s1"
    assert await ledger.events("s1", after=1) == world.ledger.events("s1", after=1)
    assert await ledger.log_bounds("s1") == world.ledger.log_bounds("s1")
    assert (await ledger.job(job.job_id)).text == world.ledger.job(job.job_id).text == "text"
    assert await ledger.messages("s1") == world.ledger.messages("s1")
    assert (await ledger.cancel("s1", job.job_id)).status == world.ledger.cancel("s1", job.job_id).status
    with pytest.raises(JobNotFoundError, match="job-1"):
        await ledger.job("job-1")
    with pytest.raises(JobNotFoundError, match="job-1"):
        world.ledger.job("job-1", "s1")


async def test_many_submits_with_one_key_make_one_job(world: World, ledger: AsyncLedger) -> None:
    jobs = [ChatJob(messages="Hi", session_id="s1", idempotency_key="k") for _ in range(20)]
    results = await asyncio.gather(*(ledger.submit(job) for job in jobs))
    assert len({result.job_id for result in results}) == 1
    assert sum(result.created for result in results) == 1
    assert world.ledger.unended() == 1
    assert len(list(world.raw.scan_iter("palaver:job:*"))) == 1


PATIENCE = 4.0
"""Seconds after which a silent Redis counts as gone, where a reply takes a fifth of that."""


async def test_a_burst_of_tasks_waits_as_long_as_redis_answers(cutter: Cutter) -> None:
    async with aclosing(AsyncLedger(through(cutter, patience=PATIENCE))) as ledger:
        await ledger.submit(ChatJob(messages="Hi"))  # Redis has the script from now on
        cutter.delay = PATIENCE / 5
        submitted = await asyncio.gather(
            *(ledger.submit(ChatJob(messages="Hi", session_id=f"s{n}")) for n in range(2000))
        )
        assert [job.session_id for job in submitted] == [f"s{n}" for n in range(2000)]  # each its own reply


def test_so_does_a_burst_of_threads(cutter: Cutter) -> None:
    settings = through(cutter, patience=PATIENCE)
    cutter.delay = PATIENCE / 8  # the last of them wait for longer than their patience
    together = threading.Barrier(400)

    def ask() -> int:
        together.wait(30)
        return shell.seq("s1")

    with ThreadPoolExecutor(together.parties) as threads, closing(SyncLedger(settings)) as shell:
        asked = [threads.submit(ask) for _ in range(together.parties)]
        assert [future.result() for future in asked] == [0] * together.parties


async def test_all_that_wait_are_told_together_when_redis_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        async with aclosing(AsyncLedger(Settings(redis_url=url, connect_seconds=PATIENCE / 2))) as ledger:
            asked = [asyncio.create_task(ledger.seq("s1")) for _ in range(10_000)]
            done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            assert {type(task.exception()) for task in done} == {LedgerUnavailableError}
            await asyncio.sleep(0)
            # Who waited is: what is on its way over another connection ends when its own time does.
            assert sum(task.done() for task in asked) >= len(asked) - SHARED * 400
            results = await asyncio.gather(*asked, return_exceptions=True)
            assert {type(result) for result in results} == {LedgerUnavailableError}


def test_so_are_threads() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        shell = SyncLedger(Settings(redis_url=url, connect_seconds=1.5 * PATIENCE))
        together = threading.Barrier(100)

        def ask() -> None:
            together.wait()
            shell.seq("s1")

        with ThreadPoolExecutor(together.parties) as threads:
            asked = [threads.submit(ask) for _ in range(together.parties)]
            assert {type(future.exception()) for future in asked} == {LedgerUnavailableError}
        # Who waited for one of these needs none, but for a few that were given one before they were told.
        assert CONNECTIONS <= come_to(silent) < CONNECTIONS + 10


async def test_a_caller_that_gives_up_takes_nobody_along(cutter: Cutter) -> None:
    cutter.delay = PATIENCE / 5
    async with aclosing(AsyncLedger(through(cutter))) as ledger:
        asked = [asyncio.create_task(ledger.seq("s1")) for _ in range(100)]
        await asyncio.sleep(0)
        for task in asked[::2]:
            task.cancel()
        results = await asyncio.gather(*asked, return_exceptions=True)
    assert results[1::2] == [0] * 50
    assert {type(result) for result in results[::2]} == {asyncio.CancelledError}


async def test_who_waits_when_the_ledger_is_closed_is_told(cutter: Cutter) -> None:
    ledger = AsyncLedger(through(cutter, patience=PATIENCE))
    cutter.hands_on.clear()
    asked = [asyncio.create_task(ledger.seq("s1")) for _ in range(5000)]  # more than leave at once
    await asyncio.to_thread(cutter.asked.wait, 10)
    await ledger.aclose()
    cutter.hands_on.set()
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(result) for result in results} == {LedgerUnavailableError}
    assert await ledger.seq("s1") == 0
    await ledger.aclose()


@pytest.mark.parametrize("connected", [True, False], ids=["while they wait", "while they connect"])
async def test_who_asks_while_the_ledger_closes_does_not_wait_for_ever(
    cutter: Cutter, connected: bool
) -> None:
    ledger = AsyncLedger(through(cutter, patience=10 * IN_TIME))
    if connected:
        cutter.delay = 0.1
        await asyncio.gather(*(ledger.seq("s1") for _ in range(5000)))  # over all connections
        cutter.asked.clear()
    cutter.hands_on.clear()
    before = [asyncio.create_task(ledger.seq("s1")) for _ in range(5000)]
    await asyncio.to_thread(cutter.asked.wait, IN_TIME)
    closing = asyncio.create_task(ledger.aclose())
    meanwhile = []
    for _ in range(3):  # in one of these turns they are told to end, and have not
        meanwhile.append(asyncio.create_task(ledger.seq("s1")))
        await asyncio.sleep(0)
    async with asyncio.timeout(IN_TIME):
        await closing
        cutter.hands_on.set()
        told = await asyncio.gather(*before, return_exceptions=True)
        answered = await asyncio.gather(*meanwhile, return_exceptions=True)
    assert {type(result) for result in told} == {LedgerUnavailableError}
    assert {type(result) for result in answered} <= {LedgerUnavailableError, int}  # some are served anew
    await ledger.aclose()


async def test_announcements_expire_and_are_withdrawn(world: World, ledger: AsyncLedger) -> None:
    workers = world.keys.workers
    world.raw.hset(workers, "old", '{"expires":1,"time":1.0,"pid":1}')
    assert world.ledger.workers() == []
    world.ledger.run(operations.announce(workers, {"w1": {"pid": 1}, "w2": {}}, seconds=60))
    assert [(worker.name, worker.data) for worker in await ledger.workers()] == [
        ("w1", {"pid": 1}),
        ("w2", {}),
    ]
    assert world.raw.hlen(workers) == 2
    assert abs((await ledger.workers())[0].time - world.time()) < 30
    world.ledger.query(operations.withdraw(workers, ["w1"]))
    assert [worker.name for worker in world.ledger.workers()] == ["w2"]
    assert world.ledger.announced_profiles() == world.ledger.announced_agents() == []


async def test_an_inbox_confirms_first_and_then_has_everything(world: World, ledger: AsyncLedger) -> None:
    async with (
        Subscriptions(ledger.settings) as subscriptions,
        subscriptions.listen(world.keys.channel("s1")) as one,
        subscriptions.listen(world.keys.channel("s1")) as two,
    ):
        assert await one.receive(10) == [Signal.SUBSCRIBED]
        assert await two.receive(10) == [Signal.SUBSCRIBED]
        await ledger.submit(ChatJob(messages="Hi", session_id="s1"))
        logged = await ledger.events("s1")
        assert await one.receive(10) == logged
        assert await two.receive(10) == logged
        async with subscriptions.listen(world.keys.channel("s1")) as late:
            assert await late.receive(10) == [Signal.SUBSCRIBED]
        assert await one.receive(0.01) == []


async def test_a_slow_inbox_overruns_and_says_so(world: World, ledger: AsyncLedger) -> None:
    channel = world.keys.channel("s1")
    async with (
        Subscriptions(ledger.settings) as subscriptions,
        subscriptions.listen(channel, 10) as slow,
        subscriptions.listen(channel) as quick,
    ):
        await slow.receive(10)
        await quick.receive(10)
        for i in range(25):
            world.raw.publish(channel, str(i))
            assert await quick.receive(10) == [b"%d" % i]
        notices = await slow.receive(10)
        assert notices[0] is Signal.OVERRUN
        assert notices[-1] == b"24"
        assert len(notices) <= 11


async def test_a_channel_that_was_left_can_be_joined_again(world: World, ledger: AsyncLedger) -> None:
    channel = world.keys.channel("s1")
    async with Subscriptions(ledger.settings) as subscriptions:
        for _ in range(5):
            async with subscriptions.listen(channel) as inbox:
                assert await inbox.receive(10) == [Signal.SUBSCRIBED]
                world.raw.publish(channel, "x")
                assert await inbox.receive(10) == [b"x"]


async def test_a_cut_subscription_comes_back_and_says_both(redis_server: RedisServer) -> None:
    world = World(redis_server, connect_seconds=IN_TIME)
    ledger = AsyncLedger(world.settings)
    async with (
        Subscriptions(ledger.settings) as subscriptions,
        subscriptions.listen(world.keys.channel("s1")) as inbox,
        subscriptions.listen(world.keys.control) as control,
    ):
        await inbox.receive(10)
        await control.receive(10)
        world.raw.client_kill_filter(_type="pubsub")
        for listener in (inbox, control):
            seen: list[object] = []
            while Signal.SUBSCRIBED not in seen:
                seen += await listener.receive(10)
            assert seen == [Signal.LOST, Signal.SUBSCRIBED]
    await ledger.aclose()
    world.close()


def test_who_was_interrupted_leaves_no_replies_to_the_next(world: World) -> None:
    """A soft time limit, or Ctrl-C, while more commands are packed and Redis is slow."""

    class Interrupted(tuple[str, ...]):
        def __iter__(self) -> Iterator[str]:
            raise KeyboardInterrupt

    with closing(SyncLedger(world.settings)) as ledger:
        slow: list[tuple[str, ...]] = [("BLPOP", "nothing", "0.2"), *[("PING",)] * PIECE, Interrupted()]
        with pytest.raises(KeyboardInterrupt):
            ledger._send(slow)  # type: ignore[arg-type]  # of other kinds of words
        assert ledger._send([("ECHO", "mine")]) == [b"mine"]
