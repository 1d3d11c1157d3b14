"""Result backends of coroutine tasks, away from the loop."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import Celery

from palaver.workers.pool.bridge import bridge


def test_no_backend_is_made_to_clean_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery has one for each thread; that of a database connects when it is made, which may hang."""
    app: Any = Celery("user", backend="cache+memory://", set_as_current=False)

    async def answer() -> None: ...

    app.task(name="user.answer")(answer)
    app.finalize()
    bridge(app)
    made_in: list[int] = []
    make = app._get_backend

    def note() -> Any:
        made_in.append(threading.get_ident())
        return make()

    monkeypatch.setattr(app, "_get_backend", note)
    with ThreadPoolExecutor(1) as loop:
        loop.submit(lambda: app.tasks["user.answer"].backend.process_cleanup()).result(20)
    assert made_in == []
