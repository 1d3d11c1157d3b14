"""Names of receivers, where the machine gives no more threads."""

import threading

import pytest

from palaver.workers.webhooks.calls import Calls


async def test_without_a_thread_a_try_fails_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(allowed=(), seconds=5)

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr("threading.Thread.start", start)
        for _ in range(20):  # more than one tenant's lookups: each gives its place back
            answer = await calls.post("https://receiver.invalid/", b"{}", {})
            assert (answer.taken, bool(answer.problem)) == (False, True)
