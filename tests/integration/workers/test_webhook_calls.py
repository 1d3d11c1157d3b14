"""The requests of webhooks: to no address of one's own network, by whatever name."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import pairwise

import pytest
from aiohttp import AsyncResolver, ThreadedResolver, web
from aiohttp.abc import AbstractResolver, ResolveResult

from palaver.shared.webhooks import networks
from palaver.workers.webhooks import Calls
from palaver.workers.webhooks.calls import Answer
from tests.posting import posting_to


class Receiver:
    """Counts what is posted, on all addresses of this machine."""

    def __init__(self) -> None:
        self.told = 0
        self.url = ""

    async def take(self, _: web.Request) -> web.Response:
        self.told += 1
        return web.Response(status=204)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with posting_to(receiver.take) as receiver.url:
        yield receiver


class Names(AbstractResolver):
    """Each name stands for one address after the other."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def post(
    url: str, *addresses: str, allowed: str = "", resolver: Callable[[], AbstractResolver] = AsyncResolver
) -> Answer:
    resolver = partial(Names, *addresses) if addresses else resolver
    async with Calls(allowed=networks(allowed), seconds=5, resolver=resolver) as calls:
        return await calls.post(url, b"{}", {"webhook-id": "x"})


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"),
        *("\uff11\uff12\uff17.0.0.1", "\u2460\u2461\u2466.0.0.1", "127\u30020\u30020\u30021"),
    ],
)
@pytest.mark.parametrize(
    "resolver",
    [partial(AsyncResolver, nameservers=["127.0.0.1:1"]), ThreadedResolver],
    ids=["c-ares", "system"],
)
async def test_no_spelling_of_ones_own_address_is_called(
    receiver: Receiver, host: str, resolver: Callable[[], AbstractResolver]
) -> None:
    """The system takes more of them for numbers."""
    answer = await post(receiver.url.replace("127.0.0.1", host), resolver=resolver)
    assert answer.status is None
    assert receiver.told == 0


async def test_a_name_that_changes_its_address_is_not_called(receiver: Receiver) -> None:
    url = receiver.url.replace("127.0.0.1", "rebinding.example")
    assert str(await post(url, "127.0.0.1")) == "the address may not be called"
    names = Names("192.0.2.1", "127.0.0.1")
    async with Calls(allowed=networks(""), seconds=0.3, resolver=lambda: names) as calls:
        for _ in range(3):
            assert (await calls.post(url, b"{}", {})).status is None
    assert names.addresses == ["127.0.0.1"]
    assert receiver.told == 0


async def test_a_network_that_is_allowed_is_called(receiver: Receiver) -> None:
    url = receiver.url.replace("127.0.0.1", "inside.example")
    assert (await post(url, "127.0.0.1", allowed="127.0.0.0/8")).taken
    assert receiver.told == 1


@pytest.mark.parametrize(
    "says",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"no HTTP\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000, id="an endless head"),
        pytest.param(b"HTTP/1.1 2", id="half a line"),
    ],
)
async def test_what_is_no_answer_is_a_problem(says: bytes) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answer_ = await post(f"http://127.0.0.1:{port}/", allowed="127.0.0.0/8")
    assert answer_.status is None
    assert answer_.problem


@asynccontextmanager
async def saying(*pieces: bytes, again: bool = False) -> AsyncIterator[str]:
    """The address of a server that says this; `again`: the last of it for as long as somebody reads."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(pieces))
        with suppress(ConnectionError):
            while again:
                await writer.drain()
                writer.write(pieces[-1])
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_a_receiver_that_says_for_ever_that_one_may_go_on_is_given_up() -> None:
    """At once: to read on takes all the loop's time, and memory for as long as a try may last."""
    turns = list[float]()

    async def look() -> None:
        while True:
            turns.append(time.thread_time())  # of this one: others may have the processors
            await asyncio.sleep(0)

    async with saying(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, again=True) as url:
        looking = asyncio.create_task(look())
        answer = await post(url, allowed="127.0.0.0/8")
        looking.cancel()
    assert str(answer) == "ClientResponseError"
    assert max(later - earlier for earlier, later in pairwise(turns)) < 0.5


async def test_a_few_words_before_an_answer_are_passed_over() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    async with saying(hints * 3, b"HTTP/1.1 204 x\r\n\r\n") as url:
        assert (await post(url, allowed="127.0.0.0/8")).taken
