"""What a loop says of what nobody caught."""

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from palaver.workers.loop import LoopThread

SECRET = "xyzzy-42"


@pytest.mark.parametrize("make", [None, asyncio.new_event_loop], ids=["ours", "asyncio's"])
def test_neither_an_exceptions_words_nor_a_callbacks_arguments_are_logged(
    make: Callable[[], asyncio.AbstractEventLoop] | None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if make is not None:
        monkeypatch.setattr("palaver.workers.loop.new_event_loop", make)
    called = threading.Event()

    def fail(word: str) -> None:
        called.set()
        raise RuntimeError(word)

    with caplog.at_level(logging.DEBUG):
        loop = LoopThread(lambda: None)
        loop.start()
        loop.loop.call_soon_threadsafe(fail, SECRET)
        assert called.wait(20)
        loop.stop()
    (told,) = [record.getMessage() for record in caplog.records if "loop.unhandled" in record.getMessage()]
    assert "error=RuntimeError" in told
    assert "raise RuntimeError(word)" in told
    assert SECRET not in told


def test_what_nobody_waits_for_and_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(word: str) -> None:
        raise RuntimeError(word)

    loop = LoopThread(lambda: None)
    loop.start()
    loop.begin(fail(SECRET))
    loop.run(asyncio.sleep(0))  # behind it
    loop.stop()
    (told,) = [record.getMessage() for record in caplog.records if "loop.unhandled" in record.getMessage()]
    assert "error=RuntimeError" in told
    assert "raise RuntimeError(word)" in told
    assert SECRET not in told
