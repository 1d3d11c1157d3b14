"""Every dialect over real HTTP, from a model server in another process."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from palaver.shared.errors import (
    AuthenticationError,
    ConnectionError,
    InternalError,
    MalformedStreamError,
    ModelNotFoundError,
    NotFoundError,
    PalaverError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    TimeoutError,
    ValidationError,
)
from palaver.shared.jobs import Timeouts
from palaver.shared.params import ChatParams
from palaver.workers.http import HttpClient, HttpRequest
from palaver.workers.providers import (
    FinishPart,
    MetadataPart,
    Part,
    RawPart,
    ReasoningDelta,
    ToolCallPart,
    UsagePart,
    WarningPart,
)
from tests.integration.providers.conftest import Gathering, Talk, text_of
from tests.model_server import ModelServer
from tests.servers import eventually

Talks = Callable[..., Talk]


def open_files() -> int:
    descriptors = Path("/proc/self/fd")
    return len(list(descriptors.iterdir())) if descriptors.is_dir() else 0


def words(count: int) -> str:
    return "".join(f" w{number}" for number in range(count))


async def test_an_answer_arrives_whole(talk: Talks) -> None:
    parts = await talk().parts({"n": 500, "reasoning": "let me see"})
    assert text_of(parts) == words(500)
    assert "".join(part.text for part in parts if isinstance(part, ReasoningDelta)) == "let me see"
    assert [part.usage.total_tokens for part in parts if isinstance(part, UsagePart)][-1] == 503
    assert parts[-1] == FinishPart("stop", "m")


async def test_deltas_arrive_while_the_server_still_writes(talk: Talks, server: ModelServer) -> None:
    provider, sink = talk(), Gathering([])
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        reading = group.create_task(
            provider.provider.answer(provider.request({"n": 10_000, "rate": 50}), sink)
        )
        await sink.speaks.wait()
        assert text_of(sink.found).startswith(" w0")
        assert (await asyncio.to_thread(server.stats))["open"] == 1
        reading.cancel()


async def test_no_more_is_read_while_the_sink_has_no_room(talk: Talks) -> None:
    provider, sink = talk(), Gathering([], narrow=True)
    await provider.provider.answer(provider.request({"n": 20, "rate": 200}), sink)
    assert text_of(sink.found) == words(20)
    assert sink.pauses > 0


async def test_tool_calls_come_complete(talk: Talks) -> None:
    call = {"id": "c7", "name": "weather", "arguments": {"city": "Zürich", "days": [1, 2]}}
    parts = await talk().parts({"n": 1, "tool_calls": [call, {**call, "id": "c8"}]})
    calls = [part for part in parts if isinstance(part, ToolCallPart)]
    assert [(found.name, found.arguments) for found in calls] == [("weather", call["arguments"])] * 2
    assert parts[-1] == FinishPart("tool_calls", "m")


@pytest.mark.parametrize(
    "script",
    [
        {"newline": "\r\n"},
        {"newline": "\r"},
        {"gzip": True},
        {"body": True},
        {"pad": 1024 * 1024, "n": 3},
        {"deltas": ["👩‍🚀", "\u2028\u0085", "語", "\n\n", " x\r\ny"]},
    ],
    ids=str,
)
async def test_unusual_streams(talk: Talks, script: dict[str, object]) -> None:
    wanted = "".join(script["deltas"]) if "deltas" in script else words(int(str(script.get("n", 20))))  # type: ignore[arg-type]
    parts = await talk().parts(script)
    assert text_of(parts) == wanted
    assert isinstance(parts[-1], FinishPart)


async def test_a_prefix_is_gone_on_after(talk: Talks) -> None:
    parts = await talk(resume="prefix").parts({"n": 20}, prefix=words(15))
    assert words(15) + text_of(parts) == words(20)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ValidationError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, ModelNotFoundError),
        (408, TimeoutError),
        (429, RateLimitError),
        (500, ServerError),
        (503, ServerError),
    ],
)
async def test_statuses(talk: Talks, status: int, error: type[PalaverError]) -> None:
    fail = {"status": status, "retry_after": 7, "message": "model 'm' not found"}
    with pytest.raises(error, match="model 'm' not found") as raised:
        await talk().parts({"fail": fail})
    assert raised.value.provider == "p"
    assert raised.value.status_code == status
    if status == 429:
        assert raised.value.retry_after == 7


@pytest.mark.parametrize(
    ("kind_of_failure", "error"),
    [
        ("cut", StreamInterruptedError),
        ("eof", StreamInterruptedError),
        ("reset", StreamInterruptedError),
        ("garbage", MalformedStreamError),
        ("error", ServerError),
        ("idle", TimeoutError),
    ],
)
async def test_a_stream_that_fails_keeps_what_came(
    talk: Talks, kind_of_failure: str, error: type[PalaverError]
) -> None:
    found: list[Part] = []
    script = {"n": 9, "rate": 500, "fail": {"kind": kind_of_failure, "after": 5}}
    patience = 3.0 if kind_of_failure == "idle" else 30.0  # longer than a server may be held up
    with pytest.raises(error) as raised:
        await talk().into(found, script, timeouts=Timeouts(read=patience))
    assert text_of(found) == words(5)
    assert raised.value.provider == "p"


async def test_an_error_inside_a_200_tells_the_providers_message(talk: Talks) -> None:
    with pytest.raises(ServerError, match="out of memory"):
        await talk().parts({"fail": {"kind": "error", "message": "CUDA out of memory"}})


async def test_timeouts_are_between_bytes_and_for_the_whole(talk: Talks) -> None:
    steady = {"n": 16, "rate": 5}
    assert text_of(await talk().parts(steady, timeouts=Timeouts(read=2.8))) == words(16)
    with pytest.raises(TimeoutError, match=r"longer than 0\.4 s"):
        await talk().parts(steady, timeouts=Timeouts(total=0.4))
    with pytest.raises(TimeoutError, match=r"nothing came for 0\.3 s"):
        await talk().parts({"start": 30}, timeouts=Timeouts(read=0.3))


async def test_nobody_listens(talk: Talks) -> None:
    with pytest.raises(ConnectionError, match=r"cannot be reached \(connection refused\)"):
        await talk(base_url="http://127.0.0.1:9").parts("x")


async def test_leaving_a_stream_closes_its_connection(talk: Talks, server: ModelServer) -> None:
    provider = talk()
    before = len(server.stats()["closed_by_client"])

    sink = Gathering([])
    task = asyncio.create_task(provider.provider.answer(provider.request({"n": 10_000, "rate": 50}), sink))
    await sink.speaks.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await asyncio.to_thread(eventually, lambda: len(server.stats()["closed_by_client"]) == before + 1)
    assert server.stats()["open"] == 0


async def test_connections_are_reused_and_bounded(talk: Talks, server: ModelServer) -> None:
    provider = talk()
    before = server.stats()["connections"]
    for _ in range(20):
        await provider.parts({"n": 3})
    used = server.stats()["connections"] - before - 1  # one is the question for the statistics
    assert used <= 5
    sockets = open_files()
    for _ in range(10):
        await asyncio.gather(*(provider.parts({"n": 3}) for _ in range(50)))
    assert open_files() - sockets <= 60


async def test_keys_headers_and_no_cookies(talk: Talks, server: ModelServer, kind: str) -> None:
    headers = {"X-Team": "blue"}
    provider = talk(api_key="sk-1", headers=headers)
    await provider.parts({"n": 1})
    await provider.parts({"n": 1})
    seen = server.last()["headers"]
    assert (
        seen["x-api-key"] if kind == "anthropic" else seen["authorization"].removeprefix("Bearer ")
    ) == "sk-1"
    assert seen["x-team"] == "blue"
    assert "cookie" not in seen
    assert headers == {"X-Team": "blue"}
    await talk(api_key="sk-1", headers={"Authorization": "Basic x"}).parts({"n": 1})
    assert server.last()["headers"]["authorization"] == "Basic x"


async def test_a_key_that_the_provider_repeats_is_not_told(talk: Talks) -> None:
    fail = {"status": 401, "message": "Incorrect key provided: sk-canary-1234. Get one."}
    with pytest.raises(AuthenticationError, match=r"provided: \*\*\*\. Get") as raised:
        await talk(api_key="sk-canary-1234").parts({"fail": fail})
    assert "canary" not in repr(raised.value)


async def test_redirects_are_errors(talk: Talks, server: ModelServer) -> None:
    with pytest.raises(PalaverError) as raised:
        await talk().parts({"fail": {"status": 302, "location": f"{server.origin}/_stats"}})
    assert raised.value.status_code == 302


async def test_proxies(talk: Talks, server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "no_proxy", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    direct = {"base_url": "http://models.invalid"}
    assert text_of(await talk(**direct, proxies={"http": server.origin}).parts({"n": 2})) == words(2)
    assert server.last()["path"].startswith("http://models.invalid/")
    monkeypatch.setenv("http_proxy", server.origin)
    client = HttpClient()
    through = talk(**direct)
    through.provider.http = client
    assert text_of(await through.parts({"n": 2})) == words(2)
    nothing = talk(proxies={})
    nothing.provider.http = client
    await nothing.parts({"n": 1})
    assert server.last()["path"].startswith("/")
    await client.aclose()


async def test_models_and_health(talk: Talks) -> None:
    assert await talk().provider.models() == ["m", "n"]
    healthy = await talk().provider.health()
    assert healthy.ok
    assert healthy.error is None
    found = await talk().provider.show("m")
    assert (found.name, found.context_length) == ("m", 4096)
    with pytest.raises(ModelNotFoundError, match="p has no model 'x/y:z'"):
        await talk().provider.show("x/y:z")
    sick = await talk(base_url="http://127.0.0.1:9").provider.health()
    assert not sick.ok
    assert isinstance(sick.error, ConnectionError)


@pytest.mark.parametrize("kind", ["openai"], indirect=True)
async def test_a_server_without_a_list_of_models_is_healthy_if_its_profile_says_so(
    talk: Talks, server: ModelServer
) -> None:
    elsewhere = f"{server.origin}/v1/models/nothing"
    sick = await talk(base_url=elsewhere).provider.health()
    assert isinstance(sick.error, NotFoundError)
    listless = talk(base_url=elsewhere, options={"lists_models": False}).provider
    assert (await listless.health()).ok
    assert await listless.models() is None
    assert (await listless.show("any")).name == "any"


async def test_a_whole_body_instead_of_a_stream(talk: Talks) -> None:
    parts = await talk().parts({"n": 2}, stream=False, params=ChatParams(return_raw=True))
    assert text_of(parts) == words(2)
    raw = next(part for part in parts if isinstance(part, RawPart))
    assert json.loads(raw.body)["model"] == "m"


@pytest.mark.parametrize("kind", ["openai"], indirect=True)
async def test_more_choices_than_one(talk: Talks) -> None:
    parts = await talk().parts({"n": 1}, stream=False, params=ChatParams(n=3))
    others = next(part for part in parts if isinstance(part, MetadataPart)).data["choices"]
    assert [choice["index"] for choice in others] == [1, 2]
    streamed = await talk().parts({"n": 1}, params=ChatParams(n=3))
    assert [part.param for part in streamed if isinstance(part, WarningPart)] == ["n"]


async def test_a_client_serves_one_loop_and_ends_for_good(server: ModelServer) -> None:
    client = HttpClient()
    request = HttpRequest(method="GET", url=f"{server.origin}/_stats")
    async with await client.send(request) as response:
        assert b"requests" in await response.read(10_000)

    def elsewhere() -> None:
        async def ask() -> None:
            async with await client.send(request):
                pass

        asyncio.run(ask())

    with pytest.raises(InternalError):
        await asyncio.to_thread(elsewhere)
    await client.aclose()
    await client.aclose()
    with pytest.raises(InternalError):
        async with await client.send(request):
            pass
