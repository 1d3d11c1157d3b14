"""How the body of a response is read: what arrives is handed on at once, inside the loop's own reading.

aiohttp alone would wake a task for each read and set a timer at each; and it has two deques for each body,
with room for 64 where one or two are kept. A thousand streams at once pay for all of that.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import aiohttp

from palaver.workers.wire import Wire

__all__ = ["Pour", "Silences", "Take", "TellingWire"]

Take = Callable[[bytes], bool]
"""Gets what was read; False: enough for now. It runs inside the loop's reading, and must not wait."""

_A_TURN: Final = 64 * 1024
"""So many bytes of a body are taken before other streams have their turn; the worst ones take 30 ms."""
_FEW: Final = 64
"""So long a list gives its first one away as fast as a deque does."""
_LOOK_SECONDS: Final = 0.1
"""Between two looks at all pours, which are some hundred microseconds for a thousand."""


class _Few(list[Any]):
    """Takes the place of a deque, which has room for 64 at once, where there is one at a time."""

    __slots__ = ()

    def popleft(self) -> Any:
        return self.pop(0)


# ruff: noqa: SLF001 - aiohttp has no other way to have its bodies keep their bytes in something smaller


def _narrow(body: Any) -> None:
    """Lists in place of a body's two deques: 1.4 KB less of each stream."""
    if not body._buffer:
        body._buffer, body._http_chunk_splits = _Few(), _Few(body._http_chunk_splits or ())


def _widen(body: Any) -> None:
    """Deques again where much has come: for each byte that a server sends by itself a list would move all
    that are behind it.
    """
    buffer = getattr(body, "_buffer", None)  # aiohttp's body of an answer without one has none
    if isinstance(buffer, _Few) and len(buffer) > _FEW:
        body._buffer, body._http_chunk_splits = deque(buffer), deque(body._http_chunk_splits)


class TellingWire(Wire):
    """aiohttp's end of a connection; it also tells whoever pours a body that some of it was read."""

    __slots__ = ("arrived", "kept")  # an attribute more in its dict would cost each stream 770 bytes

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._buffer: Any = _Few()  # of responses, but for their bodies
        self.arrived: Callable[[], None] | None = None
        self.kept = False  # it has served a request before

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if data and self.arrived is not None:
            self.arrived()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.arrived is not None:
            self.arrived()

    def resume_reading(self, resume_parser: bool = True) -> None:
        # After every read aiohttp asks for this, and would run its parser over nothing.
        if self._reading_paused:
            super().resume_reading(resume_parser)


class Silences:
    """Ends the pours of one loop to which nothing comes: one timer for all, since hardly any is ever late."""

    def __init__(self) -> None:
        self._pours: set[Pour] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf  # then it looks next, by the loop's clock

    def watch(self, pour: Pour) -> None:
        """End it as soon as it is late."""
        self._pours.add(pour)
        if pour.late_at < self._due:
            self._look_at(pour.late_at)

    def leave(self, pour: Pour) -> None:
        """It ends, or has enough for now. May be called twice."""
        self._pours.discard(pour)

    def close(self) -> None:
        """Watch nothing any more."""
        self._pours.clear()
        self._look_at(math.inf)

    def _look_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = None if due == math.inf else asyncio.get_running_loop().call_at(due, self._look)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        for pour in [pour for pour in self._pours if pour.late_at <= now]:
            pour.fail(aiohttp.SocketTimeoutError())
        first = min((pour.late_at for pour in self._pours), default=math.inf)
        self._look_at(max(first, now + _LOOK_SECONDS))


class Pour:
    """One pouring of a body: `ended` is set when the body ends (True), or `take` has enough (False).

    Where nothing comes for `silence` seconds, it raises aiohttp's SocketTimeoutError.
    """

    __slots__ = ("_body", "_heard", "_loop", "_next", "_silence", "_silences", "_take", "_wire", "ended")

    def __init__(
        self,
        body: aiohttp.StreamReader,
        wire: TellingWire | None,
        take: Take,
        *,
        silence: float,
        silences: Silences,
    ) -> None:
        self._body = body
        self._wire = wire
        self._take = take
        self._silence = silence
        self._silences = silences
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._next: asyncio.Handle | None = None  # takes what there was too much of for one turn of the loop
        self.ended: asyncio.Future[bool] = self._loop.create_future()

    @property
    def late_at(self) -> float:
        """The loop's time at which it will have been silent for too long."""
        return self._heard + self._silence

    def begin(self) -> None:
        """Hand on what is there already, and stay at the wire if that is not all."""
        self._arrived()
        if self._body.is_eof():  # its wire is somebody else's by now; what is left comes turn by turn
            self._wire = None
        if not self.ended.done() and self._wire is not None:
            _narrow(self._body)
            self._wire.arrived = self._wake
            self._silences.watch(self)

    def stop(self) -> None:
        """Leave the wire. At once: with its body's end it goes to whoever waits for a connection."""
        self._silences.leave(self)
        if self._next is not None:
            self._next.cancel()
        if self._wire is not None:
            if (
                self._wire.arrived == self._wake
            ):  # else whoever has it by now has heard of its body's end before
                self._wire.arrived = None
            self._wire = None

    def fail(self, error: Exception) -> None:
        """End it by an error."""
        self.stop()
        if not self.ended.done():
            self.ended.set_exception(error)

    def _wake(self) -> None:
        if self._next is None:  # else there is more already than this turn may take
            self._arrived()

    def _go_on(self) -> None:
        self._next = None
        self._arrived()

    def _arrived(self) -> None:
        left = _A_TURN
        if self._wire is not None:
            _widen(self._body)
        try:
            while data := self._body.read_nowait(left):
                self._heard = self._loop.time()
                if not self._take(data):
                    return self._end(False)
                left -= len(data)
                if not left:
                    self._next = self._loop.call_soon(self._go_on)
                    return None
            if self._body.is_eof():
                self._end(True)
        except Exception as error:  # noqa: BLE001 - raised where `ended` is awaited
            self.fail(error)
        return None

    def _end(self, whole: bool) -> None:
        self.stop()
        if not self.ended.done():  # what was taken may have cancelled whoever waits
            self.ended.set_result(whole)
