"""What is valid and hostile: jobs, providers and tools that would take a worker's memory or time. Each ends
within its bound, with an error that says which, while another job of the worker streams on.
"""

import asyncio
import contextlib
import itertools
import json
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from palaver.shared.errors import ValidationError
from palaver.shared.jobs import MAX_TOOLS, MAX_VALUES
from palaver.workers.http import HttpClient, HttpRequest
from tests.integration.workers.conftest import PROVIDERS as SERVED
from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.integration.workers.test_engine import end_of

pytestmark = pytest.mark.redis

KB, MB, GB = 1 << 10, 1 << 20, 1 << 30
EVENT, ANSWER = 64 * KB, 256 * KB
HOLD_UP = 5.0
"""Seconds for which no loop may be held up, on the slowest machine."""
IN_FLIGHT = 32 * MB
"""What may be on its way in the buffers of both ends, beside what was read."""

Body = Callable[[], Iterable[bytes]]


class Hostile:
    """A server that answers each request with a `head` and a `body`, until nobody reads it any more."""

    def __init__(self) -> None:
        self.url = ""
        self.head = b""
        self.body: Body = tuple
        self.sent = 0  # bytes of the last body
        self.left = asyncio.Event()  # whoever asked has gone away

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.head)
        self.sent = 0
        try:
            for piece in self.body():
                writer.write(piece)
                self.sent += len(piece)
                await writer.drain()
                if self.sent > GB:
                    return
            await reader.read()
        except ConnectionError:
            pass
        finally:
            self.left.set()
            writer.close()


@pytest.fixture
async def hostile() -> AsyncIterator[Hostile]:
    hostile = Hostile()
    server = await asyncio.start_server(hostile.serve, "127.0.0.1", 0)
    hostile.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield hostile
    server.close()


@pytest.fixture
async def engine(make_engine: MakeEngine, hostile: Hostile) -> Engine:
    profiles = {
        kind: {"kind": kind, "base_url": hostile.url, "options": {"max_event_bytes": EVENT}}
        for kind in ("openai", "anthropic", "ollama")
    }
    profiles |= {
        "slow": {"kind": "scripted", "options": {"rate": 300}},
        "scripted": {"kind": "scripted", "options": {"rate": 0}},
    }
    return await make_engine(
        profiles=profiles,
        max_answer_bytes=ANSWER,
        tools="tests.integration.workers.user_tools",
        tool_output_bytes=KB,
        lease_seconds=60,
        renew_seconds=20,
    )


async def beside_another(engine: Engine, **fields: Any) -> list[dict[str, Any]]:
    """The events of a job, beside which another one has streamed whole, and was not held up."""
    other = await engine.submit({"n": 30}, model="slow/echo", session_id="other")
    running = asyncio.create_task(engine.run(other))
    await engine.said(other)
    turns = asyncio.create_task(longest_turn())
    events = await engine.answer(
        fields.pop("messages", "hi"), **({"max_retries": 0, "session_id": "hostile"} | fields)
    )
    await running
    turns.cancel()
    assert await turns < HOLD_UP
    assert text_of(await engine.events(other)) == "".join(f" w{n}" for n in range(30))
    return events


async def longest_turn() -> float:
    """Of the loop, in seconds, until it is cancelled."""
    longest, last = 0.0, time.monotonic()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
    return max(longest, time.monotonic() - last)


def sse(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def delta(**fields: Any) -> bytes:
    return sse({"choices": [{"index": 0, "delta": fields}]})


def for_ever(piece: bytes) -> Body:
    """The piece again and again, in writes of 64 KB."""
    return lambda: itertools.repeat(piece * max(1, 64 * KB // len(piece)))


def bomb(begin: bytes, piece: bytes, size: int = 32 * MB) -> Body:
    """A stream of so many bytes that takes a thousandth of it when compressed."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    block = piece * (MB // len(piece))
    packed = [packer.compress(begin), *(packer.compress(block) for _ in range(size // MB)), packer.flush()]
    return lambda: iter(packed)


def calls() -> Iterator[bytes]:
    """A stream of ever more calls."""
    for first in itertools.count(step=100):
        yield delta(
            tool_calls=[
                {"index": n, "id": f"c{n}", "function": {"name": "clock", "arguments": "{}"}}
                for n in range(first, first + 100)
            ]
        )


SAID = sse(
    {"type": "message_start", "message": {"model": "m"}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "ok"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    {"type": "message_stop"},
)


def thinking() -> Iterator[bytes]:
    """Much of it, and then blocks without end that are whole at once."""
    thought = {"type": "thinking_delta", "thinking": "hm" * 16 * KB}
    yield from itertools.repeat(sse({"type": "content_block_delta", "index": 7, "delta": thought}), 100)
    block = {"type": "redacted_thinking", "data": "x"}
    begin = {"type": "content_block_start", "index": 0, "content_block": block}
    yield from for_ever(sse(begin, {"type": "content_block_stop", "index": 0}))()


def begun_by_deltas() -> Iterator[bytes]:
    """Blocks without end that nobody has begun."""
    for first in itertools.count(step=100):
        yield b"".join(
            sse({"type": "content_block_delta", "index": n, "delta": {"signature": "x"}})
            for n in range(first, first + 100)
        )


def counts() -> Iterator[bytes]:
    """Counts that say something of many things, and then of one, again and again."""
    many = {f"n{n}": n for n in range(100_000)}
    yield sse({"type": "message_delta", "usage": {"output_tokens": 1, **many}})
    yield sse({"type": "message_delta", "usage": {"output_tokens": 1}}) * 1000
    yield SAID


def named(name: str, arguments: str, index: int = 0) -> bytes:
    """A fragment of a call without an id."""
    return delta(tool_calls=[{"index": index, "function": {"name": name, "arguments": arguments}}])


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
PACKED = STREAM.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """What a server sends, and the error of it: a class, and some of its words."""

    body: Body
    told: str
    head: bytes = STREAM
    kind: str = "openai"
    error: str = "MalformedStreamError"


LARGE, SILENT = f"more than {EVENT} bytes", "say nothing"
ENDLESS: Final = f"goes on beyond {ANSWER} bytes"
FOUND = (
    b"HTTP/1.1 302 x\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)
DEEP = b"data: " + b"[" * 20_000 + b"]" * 20_000 + b"\n\n"

PROVIDERS = {
    "one endless line": Case(for_ever(b"x"), LARGE),
    "an endless line of JSON": Case(for_ever(b"x"), LARGE, WHOLE, "ollama"),
    "an endless body": Case(for_ever(b"{"), LARGE, WHOLE),
    "an endless blank": Case(for_ever(b" "), SILENT, WHOLE),
    "an event without end": Case(for_ever(b"data:\n"), SILENT),
    "endless comments": Case(for_ever(b": hi\n\n"), SILENT),
    "endless empty events": Case(for_ever(b"data: {}\n\n"), SILENT),
    "endless pings": Case(for_ever(b'data: {"type":"ping"}\n\n'), SILENT, kind="anthropic"),
    "endless roles": Case(for_ever(delta(role="assistant")), SILENT),
    "endless text": Case(for_ever(delta(content="☂" * 50)), ENDLESS, error="AnswerTooLargeError"),
    "endless thoughts": Case(
        for_ever(delta(reasoning_content="hm" * 50)), ENDLESS, error="AnswerTooLargeError"
    ),
    "endless calls": Case(calls, "calls of tools"),
    "a bomb of one line": Case(bomb(b"data: ", b"x"), LARGE, PACKED),
    "a bomb of comments": Case(bomb(b"", b": x\n"), SILENT, PACKED),
    "a bomb of text": Case(bomb(b"", delta(content="x" * 99)), ENDLESS, PACKED, error="AnswerTooLargeError"),
    "deep JSON": Case(lambda: iter([DEEP]), f"of {len(DEEP) - 8} bytes that is not JSON"),
    "an endless reason": Case(for_ever(b"x"), "500", b"HTTP/1.1 500 x\r\n\r\n", error="ServerError"),
    "an endless head": Case(for_ever(b"x: y\r\n"), "not HTTP", b"HTTP/1.1 200 OK\r\n"),
    "endless hints before an answer": Case(for_ever(b"HTTP/1.1 103 x\r\n\r\n"), "not HTTP", b""),
    "a redirect": Case(lambda: iter(()), "302", FOUND, error="APIError"),
}


@pytest.mark.parametrize("case", PROVIDERS)
async def test_a_provider_ends_its_own_job_only(engine: Engine, hostile: Hostile, case: str) -> None:
    sends = PROVIDERS[case]
    hostile.head, hostile.body = sends.head, sends.body
    end = end_of(await beside_another(engine, model=f"{sends.kind}/m", tools=[{"name": "clock"}]))
    assert (end["status"], end["error"]["type"]) == ("failed", sends.error)
    assert sends.told in end["error"]["message"]
    async with asyncio.timeout(20):
        await hostile.left.wait()
    assert hostile.sent < IN_FLIGHT


async def test_what_only_an_agent_hears_has_the_bound_of_an_answer(
    make_engine: MakeEngine, hostile: Hostile
) -> None:
    engine = await make_engine(
        profiles={"openai": {"kind": "openai", "base_url": hostile.url}, "slow": SERVED["slow"]},
        agents="tests.integration.workers.user_agents",
        max_answer_bytes=ANSWER,
    )
    hostile.head, hostile.body = STREAM, for_ever(delta(content="☂" * 50))
    end = end_of(await beside_another(engine, model="openai/m", agent="asking/blocking"))
    assert (end["status"], end["error"]["type"]) == ("failed", "AnswerTooLargeError")
    assert ENDLESS in end["error"]["message"]
    assert end["usage"]["output_tokens"] > 0
    async with asyncio.timeout(20):
        await hostile.left.wait()
    assert hostile.sent < IN_FLIGHT


async def test_an_abstract_has_the_bound_of_an_answer(engine: Engine, hostile: Hostile) -> None:
    for words in ("one", "two"):
        await engine.answer(words, model="scripted/echo", history="session", session_id="hostile")
    answer: Body = lambda: [delta(content="ok"), b"data: [DONE]\n\n"]  # noqa: E731
    bodies = iter([for_ever(delta(content="☂" * 50)), answer])
    hostile.head, hostile.body = STREAM, lambda: next(bodies)()
    limit = {"messages": 2, "summarize": True}
    events = await beside_another(engine, model="openai/m", history="session", history_limit=limit)
    assert end_of(events)["response"]["content"] == "ok"
    warned = [event["data"]["code"] for event in events if event["type"] == "warning"]
    assert warned[:2] == ["history_not_summarized", "history_dropped"]


PATIENT = {
    "endless thinking beside much of it": Case(thinking, "blocks", kind="anthropic"),
    "endless blocks that nobody has begun": Case(begun_by_deltas, "blocks", kind="anthropic"),
    "endless closing brackets": Case(for_ever(named("f", "[{}")), SILENT),
    "an endless name": Case(
        lambda: itertools.chain([named("x" * 8 * MB, "")], for_ever(named("y", "1"))()), SILENT
    ),
}


@pytest.mark.parametrize("case", PATIENT)
async def test_what_is_kept_of_an_answer_holds_nobody_up(
    make_engine: MakeEngine, hostile: Hostile, case: str
) -> None:
    """Of profiles that keep as much as they do unless they are told otherwise."""
    sends = PATIENT[case]
    profiles = {sends.kind: {"kind": sends.kind, "base_url": hostile.url}, "slow": SERVED["slow"]}
    engine = await make_engine(profiles=profiles, tools="tests.integration.workers.user_tools")
    hostile.head, hostile.body = STREAM, sends.body
    end = end_of(await beside_another(engine, model=f"{sends.kind}/m", tools=[{"name": "clock"}]))
    assert (end["status"], end["error"]["type"]) == ("failed", sends.error)
    assert sends.told in end["error"]["message"]


async def test_counts_of_many_things_hold_nobody_up(make_engine: MakeEngine, hostile: Hostile) -> None:
    profiles = {"anthropic": {"kind": "anthropic", "base_url": hostile.url}, "slow": SERVED["slow"]}
    engine = await make_engine(profiles=profiles)
    hostile.head, hostile.body = STREAM, counts
    assert end_of(await beside_another(engine, model="anthropic/m"))["status"] == "completed"


async def test_short_lines_that_say_nothing_cost_no_more_than_long_ones(
    make_engine: MakeEngine, hostile: Hostile
) -> None:
    """An empty event takes as long as one of a hundred bytes: by their size alone, millions were read."""
    profile = {"kind": "openai", "base_url": hostile.url, "options": {"max_event_bytes": IN_FLIGHT // 2}}
    engine = await make_engine(profiles={"patient": profile})
    hostile.head, hostile.body = STREAM, for_ever(b":\n")
    end = end_of(await engine.answer("hi", model="patient/m", max_retries=0))
    assert (end["status"], end["error"]["type"]) == ("failed", "MalformedStreamError")
    async with asyncio.timeout(20):
        await hostile.left.wait()
    assert hostile.sent < IN_FLIGHT


async def test_a_flood_is_taken_in_turns_with_all_that_runs(hostile: Hostile) -> None:
    """Of one stream no turn of the loop takes more than so much, however much has arrived."""
    hostile.head, hostile.body = STREAM, for_ever(delta(content="x"))
    loop, client, turn, taken = asyncio.get_running_loop(), HttpClient(), 0, Counter[int]()

    def count() -> None:
        nonlocal turn
        turn += 1
        if taken.total() < 8 * MB:
            loop.call_soon(count)

    def take(data: bytes) -> bool:
        taken[turn] += len(data)
        return taken.total() < 8 * MB

    async with await client.send(HttpRequest(method="GET", url=hostile.url)) as response:
        count()
        await response.pour(take)
    await client.aclose()
    assert max(taken.values()) <= 64 * KB


async def test_nonsense_in_an_answer_is_nobodys_end(engine: Engine, hostile: Hostile) -> None:
    """Numbers that no memory holds, tokens that no year pays, characters that turn a terminal around."""
    said = "\x00\x1b[2J\u202etxt.exe\u2066\x07\U0010ffff"
    hostile.head = STREAM
    hostile.body = lambda: [
        delta(content=said),
        sse({"choices": [{"index": 10**12, "delta": {"content": "x"}}]}),
        delta(
            tool_calls=[{"index": 10**12, "id": "\u202e", "function": {"name": "../x", "arguments": "{}"}}]
        ),
        sse({"choices": [], "usage": {"prompt_tokens": 2**62, "completion_tokens": 2**62}}),
        sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        b"data: [DONE]\n\n",
    ]
    end = end_of(await beside_another(engine, model="openai/m"))
    assert (end["status"], end["finish_reason"]) == ("completed", "tool_calls")
    assert end["response"]["content"].startswith(said)
    assert end["usage"]["input_tokens"] < 10
    assert end["usage"]["estimated"]


@pytest.mark.parametrize("size", [10, 50_000_000])
async def test_a_tools_result_is_looked_at_no_further_than_its_bound(engine: Engine, size: int) -> None:
    script = {"rounds": [{"tool_calls": [{"name": "long", "arguments": {"size": size}}]}, {"text": "ok"}]}
    events = await beside_another(engine, messages=script, model="scripted/echo", tools=[{"name": "long"}])
    (result,) = (event["data"]["content"] for event in events if event["type"] == "tool_result")
    assert len(result.encode()) < 2 * KB
    assert end_of(events)["response"]["content"] == "ok"


async def test_a_model_that_always_asks_for_tools_is_asked_so_often_and_no_more(engine: Engine) -> None:
    script = {"rounds": [{"tool_calls": [{"name": "clock", "arguments": {}}] * 20}]}
    events = await beside_another(engine, messages=script, model="scripted/echo", tools=[{"name": "clock"}])
    rounds = engine.service.settings.tool_rounds
    assert sum(event["type"] == "tool_result" for event in events) == rounds * 20
    assert end_of(events)["status"] == "completed"


# Jobs. What is refused is so before anything is stored; what is valid, however odd, is answered as it is.

ODD = "\x00\x1b[31m\u202e\u2066\u200f\ufeff\U0010ffff{}[]'\"\\\r\n\u2028"
EVIL = "(a+)+$"


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def chain(length: int) -> Any:
    """A schema of so many definitions, each of which refers to the next one."""
    refers = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**refers, f"d{length}": {"type": "string"}}}


def wanting(schema: Any) -> Any:
    """The fields of a job that has Anthropic decode by a schema, as it is."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return {"model": "anthropic/m", "params": {"response_format": wanted}}


Fields = dict[str, Any]

# What is large is made when it is asked for, and not in each process that looks for tests.
REFUSED: dict[str, tuple[Fields | Callable[[], Fields], str]] = {
    "more values than are read": ({"metadata": {"a": [0] * MAX_VALUES}}, "metadata"),
    "a million keys": (lambda: {"metadata": {f"{n:x}": 0 for n in range(10**6)}}, "metadata"),
    "more tools than are told apart": (
        {"tools": [{"name": f"t{n}"} for n in range(MAX_TOOLS + 1)]},
        "tools",
    ),
    "deep metadata": ({"metadata": {"a": nested(100)}}, "metadata"),
    "deeper than any stack": (lambda: {"metadata": {"a": nested(100_000)}}, "metadata"),
    "a huge session": ({"session_id": "s" * 10**6}, "session_id"),
    "a session out of its braces": ({"session_id": "s}:x{"}, "session_id"),
    "a huge job id": ({"job_id": "j" * 10**6}, "job_id"),
    "a job id like a path": ({"job_id": "../../etc/passwd"}, "job_id"),
    "a huge key": ({"idempotency_key": "k" * 10**6}, "idempotency_key"),
    "a key that controls": ({"idempotency_key": "k\n\x1b"}, "idempotency_key"),
    "a tenant that controls": ({"tenant": "acme\u202e"}, "tenant"),
    "a huge tenant": ({"tenant": "t" * 10**6}, "tenant"),
    "a huge model": ({"model": "scripted/" + "m" * 10**6}, "model"),
    "half a character": ({"metadata": {"a": "\ud83d"}}, "metadata"),
    "a number of a thousand digits": ({"metadata": {"a": 10**1000}}, "metadata"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_job_is_refused_before_anything_is_stored(engine: Engine, case: str) -> None:
    fields, param = REFUSED[case]
    with pytest.raises(ValidationError) as refused:
        await engine.submit("hi", **(fields() if callable(fields) else fields))
    assert (refused.value.param or "").startswith(param)
    assert len(str(refused.value)) < 500
    assert not list(engine.client.scan_iter(f"{engine.ledger.keys.namespace}:*:job:*"))


TAKEN: dict[str, Fields | Callable[[], Fields]] = {
    "odd characters everywhere": {
        "messages": ODD,
        "user": ODD,
        "metadata": {ODD: ODD},
        "params": {"stop": [ODD], "user": ODD},
    },
    "regular bombs as stops": {
        "messages": "a" * 5000 + "!",
        "params": {"stop": [EVIL, ".*.*.*=", "[" * 500]},
    },
    "a regular bomb in a schema": {
        "messages": json.dumps({"text": json.dumps("a" * 5000 + "!")}),
        "response_schema": {"json_schema": {"type": "string", "pattern": EVIL}},
    },
    "many keys": {"metadata": {f"{n:x}": 0 for n in range(100_000)}},
    "a model like a path": {"model": "scripted/../../etc/passwd"},
    "a long history": {"history": [{"role": "user", "content": "a"}] * 20_000},
    "a long history of short turns": {
        "history": [{"role": role, "content": "a"} for role in ("user", "assistant")] * 33_000,
        "history_limit": {"tokens": 10**6},
    },
    "a schema of a long chain": lambda: wanting(chain(20_000)),
    "definitions that are none": wanting({"$defs": []}),
}


@pytest.mark.parametrize("case", TAKEN)
async def test_a_job_that_is_odd_ends_like_any(engine: Engine, hostile: Hostile, case: str) -> None:
    fields = TAKEN[case]
    hostile.head, hostile.body = STREAM, lambda: [SAID]
    said = fields() if callable(fields) else fields
    end = end_of(await beside_another(engine, **({"model": "scripted/echo"} | said)))
    if case in ("a regular bomb in a schema", "a model like a path"):
        assert end["status"] == "failed"
        assert len(end["error"]["message"]) < 1000
    else:
        assert end["status"] == "completed"
