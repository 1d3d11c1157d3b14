"""What the application does with a bug of ours."""

import asyncio
import logging

import httpx2
import pytest

from palaver.producer.gateway.app import create_app
from palaver.producer.gateway.server import report
from palaver.producer.gateway.state import Gateway
from palaver.shared.settings import Settings

SECRET = "xyzzy-42"


async def test_a_bug_is_told_by_where_it_is_and_not_by_its_words(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(Settings(redis_url="redis://127.0.0.1:1"))

    @app.get("/bug/{word}")
    async def bug(word: str) -> None:
        raise RuntimeError(word)

    transport = httpx2.ASGITransport(app)  # which raises what an application does
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as http:
        with caplog.at_level(logging.DEBUG):
            answer = await http.get(f"/bug/{SECRET}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    told = [record for record in caplog.records if record.name == "palaver.gateway"]
    assert "request_failed route=/bug/{word} error=RuntimeError" in told[0].getMessage()
    assert "raise RuntimeError(word)" in told[0].getMessage()
    assert not [record for record in caplog.records if record.exc_info]
    assert SECRET not in "".join(record.getMessage() for record in told)


async def test_who_does_not_watch_any_more_is_not_ready(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(Settings(redis_url="redis://127.0.0.1:1"))

    async def watch() -> None:
        raise RuntimeError(SECRET)

    gateway: Gateway = app.state.gateway
    gateway.begin(watch=watch(), other=asyncio.sleep(60))
    await asyncio.wait(gateway.chores, return_when=asyncio.FIRST_COMPLETED)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as http:
        answer = await http.get("/readyz")
    await gateway.aclose()
    assert answer.status_code == 503
    assert [line for line in answer.text.splitlines() if "has ended" in line] == ["watch: it has ended"]
    (told,) = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert told.startswith("chore_ended name=watch error=RuntimeError")
    assert SECRET not in told


async def test_what_nobody_caught_is_told_so_too(caplog: pytest.LogCaptureFixture) -> None:
    called, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.set_exception_handler(report)  # as a server's is

    def fail(word: str) -> None:
        called.set()
        raise RuntimeError(word)

    with caplog.at_level(logging.DEBUG):
        loop.call_soon(fail, SECRET)
        await called.wait()
        await asyncio.sleep(0)
    (told,) = [record for record in caplog.records if "unhandled" in record.getMessage()]
    assert "error=RuntimeError" in told.getMessage()
    assert not [record for record in caplog.records if SECRET in record.getMessage() or record.exc_info]
