"""Bodies of very many values: little is told of what is wrong with them, and nobody else waits for them."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import orjson
import pytest

from palaver.producer.gateway.anthropic import messages
from palaver.producer.gateway.app import create_app
from palaver.shared.beside import beside
from palaver.shared.settings import Settings

JSON = {"content-type": "application/json"}
TURN = {"role": "user", "content": "x"}
MANY = 60_000


class NoKeys:
    """Whoever is on this machine is served."""

    async def is_open(self) -> bool:
        return True


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """Of an application without a ledger: what is refused here is refused before anything is asked of it."""
    app = create_app(Settings(redis_url="redis://127.0.0.1:1"))
    app.state.gateway.keys = NoKeys()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1") as http:
        yield http
    await app.state.gateway.aclose()


def keys(many: int) -> dict[str, Any]:
    return {f"k{number}": 1 for number in range(many)}


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("/v1/messages", {"messages": [{}] * 400_000}, 413, "more than 200000 values"),
        ("/v1/messages", {"messages": [{}] * MANY}, 400, "messages[0].role: is required"),
        (
            "/v1/messages",
            {"messages": [{**TURN, "content": [{}] * MANY}]},
            400,
            "messages[0].content[0].type",
        ),
        ("/v1/messages", {"messages": [], "system": [1] * MANY}, 400, "system[0]: must be an object"),
        ("/v1/messages/count_tokens", {"messages": [TURN], "tools": [1] * MANY}, 400, "tools"),
        ("/v1/chat/completions", {"messages": [TURN] * MANY + [1]}, 400, f"messages[{MANY}]: must be"),
        ("/v1/chat/completions", {"messages": [TURN], "stop": [1] * 190_000}, 400, "stop[0]"),
        ("/v1/chat/completions", {"messages": [TURN], "tools": [keys(MANY)]}, 400, "places are wrong"),
        ("/v1/responses", {"input": [1] * MANY}, 400, "input[0]: must be an object"),
        ("/v1/responses", {"input": "x", "include": [1] * MANY}, 400, "include[0]: must be a string"),
        ("/sessions/s1/messages", {"content": [1] * MANY}, 422, "more than 100 places"),
        ("/sessions/s1/messages", {"content": [1] * (MANY // 3)}, 422, "more than 100 places"),
    ],
)
async def test_little_is_told(
    http: httpx2.AsyncClient, path: str, body: dict[str, Any], status: int, told: str
) -> None:
    sent = {"model": "a/m", "max_tokens": 5, **body} if path.startswith("/v1/m") else body
    answer = await http.post(path, content=orjson.dumps(sent), headers=JSON)
    message = answer.json()["error"]["message"]
    assert (answer.status_code, len(message) < 500) == (status, True), message
    assert told in message


PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
WORDS = {"type": "text", "data": "x"}
NO_PDF = "source.type: must be text or content: PDF and files are not offered"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"type": "document", "source": PDF}, NO_PDF),
        ({"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}, NO_PDF),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, NO_PDF),
        ({"type": "document", "source": {**WORDS, "media_type": "application/pdf"}}, "source.media_type: "),
        ({"type": "image", "source": PDF}, "source.media_type: must be an image's, not 'application/pdf'"),
        (
            {"type": "document", "source": WORDS, "citations": {"enabled": True}},
            "citations: are not offered",
        ),
        ({"type": "search_result", "source": "s", "title": "t", "content": []}, "type: must be text or "),
    ],
)
async def test_what_is_not_offered_of_messages_is_told_by_its_field(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str, block: dict[str, Any], told: str
) -> None:
    monkeypatch.setattr(messages, "check_model", served)
    results = {"type": "tool_result", "tool_use_id": "c", "content": [block]}
    for sent, place in ((block, "messages[0].content[0]"), (results, "messages[0].content[0].content[0]")):
        turn = {"role": "user", "content": [sent]}
        answer = await http.post(path, json={"model": "a/m", "max_tokens": 5, "messages": [turn]})
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
        assert error["message"].startswith(f"{place}.{told}")


async def served(*_: object) -> None:
    """Whatever model."""


async def test_others_are_answered_while_one_is_read(http: httpx2.AsyncClient) -> None:
    body = orjson.dumps({"model": "a/m", "max_tokens": 5, "messages": [TURN] * MANY + [1]})
    may_read = threading.Event()
    held = asyncio.ensure_future(beside(may_read.wait, body))  # the thread that is to read it
    posting = asyncio.ensure_future(http.post("/v1/messages", content=body, headers=JSON))
    try:
        for _ in range(20):
            assert (await http.get("/healthz")).status_code == 200
        assert not posting.done()
    finally:
        may_read.set()
    assert await held
    assert (await posting).json()["error"]["message"].startswith(f"messages[{MANY}]: must be an object")


@pytest.mark.parametrize(
    ("charset", "told"), [("punycode", "Content-Type: must name no charset"), ("UTF-8", "PALAVER_FILES_URL")]
)
async def test_no_codec_is_a_clients_to_choose(http: httpx2.AsyncClient, charset: str, told: str) -> None:
    """Some take the square of what they are given: a part of a form as long as it may be, minutes."""
    part = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhi\r\n--x--\r\n'
    kind = {"content-type": f"multipart/form-data; boundary=x; charset={charset}"}
    answer = await http.post("/v1/files", content=part, headers=kind)
    assert told in answer.json()["error"]["message"]


async def test_a_body_that_is_said_to_be_none_of_json_is_told_so(http: httpx2.AsyncClient) -> None:
    """As curl says of what follows `-d`."""
    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer = await http.post("/v1/messages", content=b'{"model": "m"}', headers=kind)
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        400,
        "Content-Type: must be application/json",
    )


async def test_what_is_no_json_is_told_without_its_words(http: httpx2.AsyncClient) -> None:
    for content in (b"[" * 100_000, b'{"secret": ' + b" " * 100_000, b"\xff" * 100_000):
        answer = await http.post("/v1/messages", content=content, headers=JSON)
        assert (answer.status_code, answer.json()["error"]["message"]) == (
            400,
            "The body is not valid JSON.",
        )
