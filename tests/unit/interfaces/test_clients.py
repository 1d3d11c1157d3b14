"""The clients under the faces."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from palaver.producer.interfaces import clients


@pytest.mark.parametrize("name", ["blocking", "awaited"])
def test_threads_that_begin_together_share_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that one of two had sealed the other would not know."""
    together, both_are_in = threading.Barrier(2), threading.Barrier(2)

    class Slow:
        def __init__(self, _settings: Any) -> None:
            try:
                both_are_in.wait(0.2)
            except threading.BrokenBarrierError:
                return

    for made in ("Client", "AsyncClient"):
        monkeypatch.setattr(clients, made, Slow)
    shared = clients.Clients()

    def use() -> Any:
        together.wait(20)
        return getattr(shared, name)

    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(use) for _ in range(2))
        assert first.result(20) is second.result(20)
