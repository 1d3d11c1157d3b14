"""What a task that fails or is cancelled leaves behind in the pool: nothing that waits for the collector."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from celery import signals
from celery.exceptions import SoftTimeLimitExceeded

from palaver.workers.loop import LoopThread
from palaver.workers.pool.direct import run_direct
from palaver.workers.pool.execution import (
    CoroutineExecution,
    DirectExecution,
    Execution,
    Order,
    ThreadExecution,
)
from palaver.workers.pool.slots import Slots
from palaver.workers.pool.threads import Threads
from palaver.workers.pool.tracer import wait_for
from tests.garbage import no_collector
from tests.servers import IN_TIME, eventually

Calls = SimpleQueue[Callable[[], object]]


class Job:
    """What a body works on."""


class Body:
    """One that holds a job, and says when it has begun; it fails, or waits to be ended."""

    def __init__(self, *, fails: bool) -> None:
        self.fails = fails
        self.begun = threading.Event()
        self.job: weakref.ref[Job]

    async def run(self) -> None:
        job = Job()
        self.job = weakref.ref(job)
        self.begun.set()
        if self.fails:
            raise RuntimeError
        await asyncio.Event().wait()

    def run_in_thread(self) -> None:
        job = Job()
        self.job = weakref.ref(job)
        self.begun.set()
        if self.fails:
            raise RuntimeError
        while True:
            threading.Event().wait(0.01)


class Direct:
    """A Celery task, as far as one without the tracer needs it."""

    def __init__(self, body: Body) -> None:
        self.run = body.run


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopThread]:
    thread = LoopThread(lambda: None)
    thread.start()
    yield thread
    thread.stop()


@pytest.fixture(scope="module")
def threads() -> Iterator[Threads]:
    made = Threads("test")
    yield made
    made.close()


def direct(body: Body, **shared: Any) -> Execution:
    run = partial(run_direct, Direct(body), "id", {}, ((), {}, None), "", "")
    return DirectExecution(order(run), **shared)


def traced(body: Body, **shared: Any) -> Execution:
    return CoroutineExecution(order(lambda: wait_for(body.run())), **shared)


def in_thread(body: Body, **shared: Any) -> Execution:
    return ThreadExecution(order(body.run_in_thread), threads=shared.pop("threads"), **shared)


def order(run: Callable[[], Any]) -> Order:
    return Order(run=run, callback=told.put, error_callback=told.put)


told: SimpleQueue[Any] = SimpleQueue()


@pytest.mark.parametrize("fails", [True, False], ids=["fails", "is ended"])
@pytest.mark.parametrize("make", [direct, traced, in_thread])
def test_it_is_gone_without_the_collector(
    loop: LoopThread, threads: Threads, make: Callable[..., Execution], fails: bool
) -> None:
    calls, body = Calls(), Body(fails=fails)
    shared: dict[str, Any] = {"loop": loop, "post": calls.put, "on_end": lambda _: None}
    shared |= {"hands_back": False, "is_only_copy": False}
    shared |= {"threads": threads} if make is in_thread else {}
    with no_collector():
        execution = make(body, **shared)
        execution.start()
        assert body.begun.wait(IN_TIME)
        if not fails:
            execution.terminate()
        calls.get(timeout=IN_TIME)()
        loop.run(asyncio.sleep(0))  # whatever it is in the middle of is over then
        del execution
        assert eventually(lambda: body.job() is None), "somebody holds it"
        if fails:
            failure = told.get(timeout=IN_TIME)
            info = failure[1] if make is direct else failure
            assert isinstance(info, ExceptionInfo)
            assert "RuntimeError" in str(info.traceback)
            assert body.run.__name__ in str(info.traceback)  # Celery is told where


def test_what_has_ended_holds_no_worker_whose_own_thread_hangs(loop: LoopThread, threads: Threads) -> None:
    slots, go_on, unheard = Slots(1), threading.Event(), Calls()
    execution = ThreadExecution(
        order(go_on.wait),
        threads=threads,
        loop=loop,
        post=unheard.put,
        on_end=slots.free,
        hands_back=False,
        is_only_copy=True,
    )
    slots.put(execution, place=1)
    assert slots.hold_only_copies
    go_on.set()
    assert eventually(lambda: not slots.hold_only_copies)
    assert execution in slots.running


def test_what_the_system_has_no_thread_for_fails_and_its_slot_is_free(
    loop: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots, calls, threads = Slots(1), Calls(), Threads("test-refused")
    shared: dict[str, Any] = {"loop": loop, "post": calls.put, "on_end": slots.free, "threads": threads}
    shared |= {"hands_back": False, "is_only_copy": True}

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        slots.put(ThreadExecution(order(lambda: "refused"), **shared), place=1)
    assert not slots.hold_only_copies
    slots.put(ThreadExecution(order(lambda: "run"), **shared), place=1)
    calls.get(timeout=IN_TIME)()
    assert "can't start new thread" in str(told.get_nowait().exception)
    calls.get(timeout=IN_TIME)()
    assert told.get_nowait() == "run"
    threads.close()


class Late:
    """A loop, or threads, of a machine that is held up: what is to begin there waits."""

    def __init__(self, loop: LoopThread) -> None:
        self.loop = loop.loop
        self.begins: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._call = loop.call

    def call(self, function: Callable[[], object]) -> None:
        if function.__name__ == "_launch":
            self.submit(function)
        else:
            self._call(function)

    def submit(self, function: Callable[[], object]) -> None:
        self.begins.put(function)


@pytest.mark.parametrize("kind", [CoroutineExecution, ThreadExecution])
def test_a_soft_limit_that_is_over_before_the_body_begins_ends_it(loop: LoopThread, kind: Any) -> None:
    late, calls, ran = Late(loop), Calls(), threading.Event()
    limited = order(ran.set)
    limited.soft_timeout, limited.timeout_callback = 0.01, lambda *_: None
    shared: dict[str, Any] = {"post": calls.put, "on_end": lambda _: None, "hands_back": False}
    shared |= {"threads": late, "loop": loop} if kind is ThreadExecution else {"loop": late}
    kind(limited, is_only_copy=False, **shared).start()
    calls.get(timeout=IN_TIME)()  # Celery is told of the limit
    loop.run(asyncio.sleep(0))
    late.begins.get(timeout=IN_TIME)()
    calls.get(timeout=IN_TIME)()
    assert told.get_nowait().type is SoftTimeLimitExceeded
    assert not ran.is_set()


@pytest.mark.parametrize(
    ("ends", "state"), [("alone", "SUCCESS"), ("failing", "FAILURE"), ("ended", "REVOKED")]
)
def test_how_a_task_without_the_tracer_has_ended_is_told_to_celery_s_signals(
    loop: LoopThread, ends: str, state: str
) -> None:
    calls, states, body = Calls(), SimpleQueue[str](), Body(fails=ends == "failing")

    def note(state: str, **_: Any) -> None:
        states.put(state)

    async def done() -> None:
        await asyncio.sleep(0)

    if ends == "alone":
        body.run = done  # type: ignore[method-assign]
        body.begun.set()
    signals.task_postrun.connect(note)
    execution = direct(
        body, loop=loop, post=calls.put, on_end=lambda _: None, hands_back=False, is_only_copy=False
    )
    execution.start()
    assert body.begun.wait(IN_TIME)
    if ends == "ended":
        execution.terminate()
    assert states.get(timeout=IN_TIME) == state
    signals.task_postrun.disconnect(note)
    calls.get(timeout=IN_TIME)()
    if ends != "ended":
        told.get_nowait()


def test_a_soft_limit_that_comes_before_the_first_step_is_told_as_one(loop: LoopThread) -> None:
    calls, held, body = Calls(), threading.Event(), Body(fails=False)
    ended: list[Execution] = []
    limited = order(lambda: wait_for(body.run()))
    limited.soft_timeout = 0.001
    execution = CoroutineExecution(
        limited, loop=loop, post=calls.put, on_end=ended.append, hands_back=False, is_only_copy=False
    )
    loop.call(held.wait)
    execution.start()
    loop.call(threading.Event().wait, 0.05)  # a loop that stands still for longer than the limit
    held.set()
    calls.get(timeout=IN_TIME)()
    assert ended == [execution]
    assert "SoftTimeLimitExceeded" in str(told.get_nowait().exception)
    assert not body.begun.is_set()
