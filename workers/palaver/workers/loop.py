"""An event loop in a thread of its own: one for the streams of a worker process, one for code that is not
ours.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from palaver.workers.event_log import event_logger
from palaver.workers.frames import frames, unhandled

try:
    from uvloop import new_event_loop
except ImportError:  # not made for every platform
    from asyncio import new_event_loop  # type: ignore[assignment]

__all__ = ["LoopThread"]

logger = event_logger("palaver.workers.loop")

T = TypeVar("T")


class LoopThread:
    """Starts a loop, runs coroutines on it, and ends it with nothing left behind.

    `on_lost` is called, in the loop's thread, when the loop ends although nobody asked it to.
    """

    def __init__(self, on_lost: Callable[[], None], *, name: str = "palaver-loop") -> None:
        self._on_lost = on_lost
        self._stopping = False
        self._begun: list[Future[object]] = []  # a task that nobody holds may be collected
        self.loop: asyncio.AbstractEventLoop = new_event_loop()
        self.loop.set_exception_handler(_report)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def kind(self) -> str:
        """Which implementation of the loop runs."""
        return type(self.loop).__module__.partition(".")[0]

    def start(self) -> None:
        self._thread.start()

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Run a function on the loop soon. From any thread; without effect once the loop has ended."""
        with contextlib.suppress(RuntimeError):  # it is closed
            self.loop.call_soon_threadsafe(function, *args)

    def begin(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine on the loop; nobody waits for it, and what it raises is logged. From any thread."""
        begun = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        self._begun.append(begun)
        begun.add_done_callback(self._ended)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the loop and wait for it. From another thread; raises what it raises.

        TimeoutError after `timeout` seconds; the coroutine is then cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise

    def stop(self, timeout: float = 5.0) -> None:
        """Cancel what still runs, wait for it up to `timeout` seconds, close the loop."""
        self._stopping = True
        if self.alive:
            self.call(self._begin_stop, timeout)
            self._thread.join(timeout + 5.0)
        if not self.alive and not self.loop.is_closed():
            self.loop.close()

    def _ended(self, begun: Future[object]) -> None:
        self._begun.remove(begun)
        error = None if begun.cancelled() else begun.exception()
        if error is not None:
            _report(self.loop, {"message": "nobody waited for it", "exception": error})

    def _begin_stop(self, timeout: float) -> None:
        ending = self.loop.create_task(self._end_all(timeout))
        ending.add_done_callback(lambda _: self.loop.stop())

    async def _end_all(self, seconds: float) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            _, stubborn = await asyncio.wait(others, timeout=seconds)
            for task in stubborn:
                logger.warning("loop.task_left_behind", task=task.get_name())
        await self.loop.shutdown_asyncgens()
        await self.loop.shutdown_default_executor()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - the thread's outermost boundary; the process ends for it
            logger.critical(f"loop.crashed\n{frames(error)}", error=type(error).__name__)
        finally:
            if not self._stopping:
                self._on_lost()


def _report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody caught, and where it happened."""
    said, error = unhandled(context)
    where = f"\n{frames(error)}" if error is not None else ""
    facts = {"said": said, "error": error and type(error).__name__}
    logger.error(f"loop.unhandled{where}", **facts)
