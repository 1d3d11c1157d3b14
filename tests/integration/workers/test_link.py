"""The worker's connection to a real Redis, and to none."""

import asyncio
import contextlib
import socket
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import hiredis
import pytest
import redis

from palaver.shared.errors import JobGoneError, LedgerFullError, LedgerUnavailableError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Claimed, Keys, Operation, Retention, Submitted, operations
from palaver.workers.link import TRANSIENT, Link
from tests.processes import Processes
from tests.servers import RedisServer, free_port, missing, redis_binary, start_redis

pytestmark = pytest.mark.redis


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[Link]:
    link = Link(redis_url)
    await link.start()
    yield link
    await link.stop()


def submit(keys: Keys, job: ChatJob) -> Operation[Submitted]:
    return operations.submit(keys, job, retention=Retention())


async def test_nobody_there_is_said_at_once_and_without_the_password() -> None:
    port = free_port()
    with pytest.raises(LedgerUnavailableError, match=f"127.0.0.1:{port}") as caught:
        await Link(f"redis://:secret@127.0.0.1:{port}/0").start()
    assert "secret" not in str(caught.value)


async def test_somebody_silent_is_given_up() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(10):
        with pytest.raises(LedgerUnavailableError):
            await Link(f"redis://127.0.0.1:{port}", connect_seconds=0.2).start()
    server.close()


async def test_a_wrong_password_is_a_failure_of_the_start(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    with server.client() as client:
        client.config_set("requirepass", "right")
    with pytest.raises(LedgerUnavailableError):
        await Link(server.url.replace("redis://", "redis://:wrong@")).start()
    link = Link(server.url.replace("redis://", "redis://:right@"))
    await link.start()
    await link.caught_up()
    await link.stop()


async def test_operations_run_with_their_commands_before_and_after(
    link: Link, namespace: str, redis_url: str
) -> None:
    keys, job = Keys(namespace), ChatJob(messages="hello", session_id="s1")
    submitted = await link.run(submit(keys, job))
    claim = operations.claim(keys, "s1", job.job_id, token="t", worker="w", lease=5)
    claimed, again = await link.run_all([claim, claim])
    await link.caught_up()
    assert submitted.created
    assert isinstance(claimed, Claimed)
    assert isinstance(again, Claimed)
    assert claimed == replace(again, deadline=claimed.deadline, begun=claimed.begun)
    with redis.Redis.from_url(redis_url) as client:
        assert client.get(keys.index(job.job_id)) == b"s1"
        assert client.zscore(keys.due, f"s1/{job.job_id}")


async def test_nothing_to_do_is_done_at_once_and_takes_no_reply_of_others(link: Link, namespace: str) -> None:
    assert await link.run_all([]) == []
    gone = operations.renew(Keys(namespace), "s1", "none", fence="1:t1", lease=5)
    with pytest.raises(JobGoneError):
        await link.run(gone)


async def test_a_verdict_is_raised_and_among_many_it_is_a_value(link: Link, namespace: str) -> None:
    gone = operations.renew(Keys(namespace), "s1", "none", fence="1:t1", lease=5)
    with pytest.raises(JobGoneError):
        await link.run(gone)
    submitted = submit(Keys(namespace), ChatJob(messages="hello", session_id="s1"))
    answers = await link.run_all([gone, gone])
    assert [type(answer) for answer in answers] == [JobGoneError, JobGoneError]
    assert (await link.run(submitted)).created


async def test_who_waits_gets_the_reply_after_the_connection_was_cut_and_redis_restarted(
    own_redis: Callable[..., RedisServer], namespace: str
) -> None:
    server = own_redis()
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    link = Link(server.url)
    await link.start()
    assert server.running is not None
    await asyncio.to_thread(server.running.stop)
    keys, job = Keys(namespace), ChatJob(messages="hello", session_id="s1")
    waiting = asyncio.create_task(link.run(submit(keys, job)))
    await asyncio.sleep(0)
    await asyncio.to_thread(own_redis, port=port)
    async with asyncio.timeout(20):
        assert (await waiting).created
    await link.stop()


async def test_a_redis_that_refuses_all_the_time_is_asked_by_a_few_connections(
    own_redis: Callable[..., RedisServer], namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    server, loop = own_redis(), asyncio.get_running_loop()
    caplog.set_level("INFO", logger="palaver.workers.link")
    link = Link(server.url)
    await link.start()
    await link.caught_up()
    keys, job = Keys(namespace), ChatJob(messages="hello", session_id="s1")
    with server.client() as client:
        client.config_set("min-replicas-to-write", 1)
        before, began = client.info("stats"), loop.time()
        refused = asyncio.create_task(link.run(submit(keys, job)))
        async with asyncio.timeout(30):
            while (
                client.info("stats")["total_connections_received"] < before["total_connections_received"] + 8
            ):
                await link.caught_up() if link.connected else await asyncio.sleep(0.01)
        assert loop.time() - began > 1.5, "eight connections took no time"
        assert not link.connected
        sent = client.info("stats")["total_net_input_bytes"] - before["total_net_input_bytes"]
        assert sent < 200_000, "the scripts were sent again"
        client.config_set("min-replicas-to-write", 0)
        async with asyncio.timeout(30):
            assert (await refused).created
        assert link.connected
    await link.stop()
    assert [
        record.getMessage().split()[0] for record in caplog.records if record.name == "palaver.workers.link"
    ] == [
        "link.refused",
        "link.accepted",
    ]


@pytest.mark.parametrize("flavour", ["redis-7", "redis-6.2"])
async def test_what_redis_refuses_for_a_while_is_asked_again_and_gets_its_own_reply(
    processes: Processes, namespace: str, flavour: str
) -> None:
    binary = redis_binary(flavour) or missing(f"no {flavour} on this machine")
    server = start_redis(processes, binary)
    link = Link(server.url)
    await link.start()
    keys, job = Keys(namespace), ChatJob(messages="hello", session_id="s1")
    await link.run(submit(keys, job))
    claim = operations.claim(keys, "s1", job.job_id, token="t", worker="w", lease=60)
    with server.client() as client:
        client.config_set("min-replicas-to-write", 1)
        refused = asyncio.create_task(link.run(claim))
        behind_it = asyncio.create_task(link.caught_up())
        async with asyncio.timeout(20):
            while link.connected:  # noqa: ASYNC110 - it is given up, and comes again
                await asyncio.sleep(0.01)
            client.config_set("min-replicas-to-write", 0)
            assert isinstance(await refused, Claimed)
            await behind_it
    await link.stop()


@pytest.mark.parametrize("word", sorted(TRANSIENT))
async def test_replies_behind_a_refusal_are_nobodys(word: str) -> None:
    """Two commands in one segment, the first of them refused at first."""
    refusals = [f"-{word} not now\r\n".encode()]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands, told = hiredis.Reader(), b""
        while data := await reader.read(1 << 20):
            commands.feed(data)
            while (command := commands.gets()) is not False:
                if command[0] == b"SCRIPT":  # it knows them all
                    writer.write(b"*%d\r\n%b" % (len(command[2:]), b":1\r\n" * len(command[2:])))
                    continue
                if command[0] != b"ECHO":
                    writer.write(b"+OK\r\n")
                    continue
                told += refusals.pop() if refusals else b"+%s\r\n" % command[1]
                if command[1] == b"second":
                    writer.write(told)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    link = Link(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await link.start()
    replies = [asyncio.get_running_loop().create_future() for _ in range(2)]
    for word_of_it, reply in zip((b"first", b"second"), replies, strict=True):
        link.send(b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n" % (len(word_of_it), word_of_it), 1, reply.set_result)
    async with asyncio.timeout(20):
        assert await asyncio.gather(*replies) == [[b"first"], [b"second"]]
    await link.stop()
    server.close()


async def test_stopping_tells_who_waits(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    link = Link(server.url)
    await link.start()
    assert server.running is not None
    await asyncio.to_thread(server.running.stop)
    waiting = asyncio.create_task(link.caught_up())
    await asyncio.sleep(0)
    await link.stop()
    with pytest.raises(LedgerUnavailableError):
        await waiting
    with pytest.raises(LedgerUnavailableError):
        await link.caught_up()


async def test_a_link_that_is_greeted_and_gets_no_answers_counts_its_stalls(redis_url: str) -> None:
    link = Link(redis_url, stall_seconds=0.1)
    deaths: list[int] = []
    link.on_dead = lambda: deaths.append(link.stalls)
    await link.start()

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110 - a plain count
                await asyncio.sleep(0.01)

    ping = b"*1\r\n$4\r\nPING\r\n"
    replies: asyncio.Queue[list[object]] = asyncio.Queue()
    link.send(ping, 2, replies.put_nowait)  # one reply too many, as a bug of the worker's would have it
    await until(lambda: link.stalls >= 4)
    assert deaths == [3]
    link.send(ping, 1, replies.put_nowait)  # its reply is taken by the first
    async with asyncio.timeout(20):
        assert [len(await replies.get()), len(await replies.get())] == [2, 1]
    await until(lambda: link.stalls == 0)  # once the connection has lasted
    link.send(ping, 2, replies.put_nowait)
    await until(lambda: link.stalls >= 4)
    assert deaths == [3], "it was called again"
    await link.stop()


STALL = 0.25
LARGE_BYTES = 3_000_000
SLOWEST = LARGE_BYTES / (12 * STALL)
PING = b"*1\r\n$4\r\nPING\r\n"


@dataclass(eq=False)
class Path:
    """The way to a Redis, through which so many bytes a second pass."""

    url: str
    rate: float = float("inf")
    dead: int = 0  # so many of its first connections pass nothing on
    swallows: bool = False  # these take what is sent; else that is left to the kernel
    holds: bool = False  # takes all at once, and passes it on at its rate
    connections: int = 0
    taken: int = 0  # bytes that have come from the link
    pumps: list[asyncio.Task[None]] = field(default_factory=list)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there = urlsplit(self.url)
        replies, commands = await asyncio.open_connection(there.hostname, there.port)
        for source, target in ((reader, commands), (replies, writer)):
            self.pumps.append(asyncio.ensure_future(self.pump(source, target, self.connections)))

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        with contextlib.closing(writer):
            held: asyncio.Queue[bytes] = asyncio.Queue()
            if self.holds:
                self.pumps.append(asyncio.ensure_future(self.pass_on(held, writer)))
            while data := await reader.read(16 * 1024):
                self.taken += len(data)
                if self.holds:
                    held.put_nowait(data)
                    continue
                await asyncio.sleep(len(data) / self.rate)
                if connection > self.dead:
                    writer.write(data)  # Redis may stand still for a moment: that is not the path
                elif not self.swallows:
                    await asyncio.Event().wait()

    async def pass_on(self, held: asyncio.Queue[bytes], writer: asyncio.StreamWriter) -> None:
        while data := await held.get():
            await asyncio.sleep(len(data) / self.rate)
            writer.write(data)


@asynccontextmanager
async def path_to(redis_url: str, *, holds: bool = False) -> AsyncIterator[tuple[Path, Link]]:
    """A started link through a path of which the kernel holds little."""
    path = Path(redis_url, holds=holds)
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
    server = await asyncio.start_server(path.accept, sock=sock, limit=16 * 1024)
    link = Link(f"redis://127.0.0.1:{sock.getsockname()[1]}", stall_seconds=STALL, slowest=SLOWEST)
    await link.start()
    await link.caught_up()
    yield path, link
    await link.stop()
    server.close()
    for pump in path.pumps:
        pump.cancel()
    await asyncio.gather(*path.pumps, return_exceptions=True)


class Taker:
    """Whoever waits for a reply."""

    def __init__(self, answered: asyncio.Queue[list[object]]) -> None:
        self.take = answered.put_nowait

    def __call__(self, replies: list[object]) -> None:
        self.take(replies)


def large(name: str) -> bytes:
    return b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        len(name),
        name.encode(),
        LARGE_BYTES,
        bytes(LARGE_BYTES),
    )


@pytest.mark.parametrize("holds", [False, True], ids=["direct", "proxy"])
async def test_a_large_answer_may_take_long_on_a_slow_path(
    redis_url: str, namespace: str, *, holds: bool
) -> None:
    said: asyncio.Queue[list[object]] = asyncio.Queue()
    async with path_to(redis_url, holds=holds) as (path, link), asyncio.timeout(60):
        path.rate = LARGE_BYTES / (4 * STALL)
        link.send(large(f"{namespace}:large"), 1, said.put_nowait)
        answered = asyncio.create_task(said.get())
        while not answered.done():  # others write behind it all the time
            link.send(PING, 1, lambda _: None)
            await asyncio.sleep(STALL / 10)
        assert await answered == [b"OK"]
        await link.caught_up()
        assert (link.stalls, path.connections) == (0, 1)


async def test_a_large_answer_may_wait_in_a_proxy_behind_another(redis_url: str, namespace: str) -> None:
    answered: asyncio.Queue[list[object]] = asyncio.Queue()
    taker = Taker(answered)
    is_kept = weakref.ref(taker)
    async with path_to(redis_url, holds=True) as (path, link), asyncio.timeout(60):
        path.rate = LARGE_BYTES / (4 * STALL)
        link.send(large(f"{namespace}:first"), 1, answered.put_nowait)
        while path.taken < LARGE_BYTES:  # noqa: ASYNC110 - a plain count
            await asyncio.sleep(0.01)
        link.send(large(f"{namespace}:second"), 1, taker)
        del taker
        assert [await answered.get(), await answered.get()] == [[b"OK"], [b"OK"]]
        assert (link.stalls, path.connections) == (0, 1)
        while is_kept() is not None:  # noqa: ASYNC110 - until the link looks again
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("swallows", [False, True], ids=["takes-nothing", "takes-all"])
@pytest.mark.parametrize("heavy", [False, True], ids=["small", "large"])
async def test_a_path_that_dies_is_left_whatever_it_carries(
    redis_url: str, namespace: str, *, swallows: bool, heavy: bool
) -> None:
    said: asyncio.Queue[list[object]] = asyncio.Queue()
    async with path_to(redis_url) as (path, link), asyncio.timeout(60):
        path.dead, path.swallows = path.connections, swallows
        link.send(large(f"{namespace}:large") if heavy else PING, 1, said.put_nowait)
        answered = asyncio.create_task(said.get())
        while not answered.done():  # what is written behind it is no sign of life
            link.send(PING, 1, lambda _: None)
            await asyncio.sleep(STALL / 10)
        assert await answered == [b"OK" if heavy else b"PONG"]
        assert path.connections == 2


async def test_a_full_redis_is_told_by_name(own_redis: Callable[..., RedisServer], namespace: str) -> None:
    server = own_redis()
    link = Link(server.url)
    await link.start()
    with server.client() as client:
        client.config_set("maxmemory", 1)
    with pytest.raises(LedgerFullError):
        await link.run(submit(Keys(namespace), ChatJob(messages="hello", session_id="s1")))
    await link.stop()


async def test_a_redis_that_forgets_its_scripts_all_the_time_runs_them(
    link: Link, namespace: str, forgetful_redis: None
) -> None:
    jobs = [ChatJob(messages="hello", session_id=f"s{n}") for n in range(20)]
    for _ in range(20):  # of a repeat the reply is the same
        answers = await link.run_all([submit(Keys(namespace), job) for job in jobs])
        assert [type(answer) for answer in answers] == [Submitted] * len(jobs)
