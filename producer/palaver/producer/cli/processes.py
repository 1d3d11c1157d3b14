"""Child processes that are started, watched and ended together, whatever happens to their parent."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Self

from palaver.producer.heeding import next_of

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True, kw_only=True, eq=False)
class Part:
    """One child process and the last lines that it wrote."""

    name: str
    process: subprocess.Popen[bytes]
    on_line: Callable[[bytes], None]
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=8))

    @property
    def how_it_ended(self) -> str:
        """In words; empty while it runs."""
        code = self.process.poll()
        if code is None:
            return ""
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


class PartDied(Exception):  # noqa: N818 - an event more than an error
    """A part ended without having been asked to."""

    def __init__(self, part: Part) -> None:
        super().__init__(f"{part.name} died ({part.how_it_ended})")
        self.part = part


class StopAsked(Exception):  # noqa: N818 - an event, no error
    """Ctrl-C, or one of the signals that end a program politely."""


class Parts:
    """Starts children into one process group with a guard, logs what they write, stops the last one first.

    A context manager, for the main thread. Leaving it ends every child, and so does the death of this
    process: see guard.py.
    """

    def __init__(self, log: IO[bytes]) -> None:
        self._log = log
        self._log_lock = threading.Lock()
        self._parts: list[Part] = []
        self._pumps: list[threading.Thread] = []
        self._happened: SimpleQueue[Part | None] = SimpleQueue()
        self._stopping = False
        script = str(Path(__file__).with_name("guard.py"))
        self._guard = subprocess.Popen(  # noqa: S603 - what `palaver dev` consists of
            [sys.executable, "-I", "-S", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(grace=0)
        self._guard.communicate()  # closes its stdin: it kills what may be left of the group, and itself
        for pump in self._pumps:
            pump.join(timeout=1)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[bytes], None] | None = None,
    ) -> Part:
        """Start one part; `env` is added to this process's own.

        `on_line` is given each line that it writes, in a thread of its own; by default they are logged.
        """
        process = subprocess.Popen(  # noqa: S603 - what `palaver dev` consists of
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            process_group=self._guard.pid,
        )
        part = Part(name=name, process=process, on_line=on_line or partial(self._write_log, name))
        self._parts.append(part)
        pump = threading.Thread(target=self._pump, args=(part,), name=f"log of {name}", daemon=True)
        pump.start()
        self._pumps.append(pump)
        return part

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by the part's name."""
        return {part.name: part.process.pid for part in self._parts}

    def discard(self, part: Part) -> None:
        """Forget a part that has ended, so that another can take its place."""
        part.process.wait()
        self._parts.remove(part)

    def kill(self, part: Part) -> None:
        """End a part with SIGKILL, as a crash would, and forget it: `watch` and `until` go on."""
        self._parts.remove(part)  # before it dies, so that nobody takes note of that
        part.process.kill()
        part.process.wait()

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Turn stop signals into StopAsked of `watch` and `until`; a second one ends the wait of `stop`."""
        before = {number: signal.signal(number, self._on_signal) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def watch(self) -> None:
        """Wait for ever, until StopAsked or PartDied is raised."""
        while True:
            self._raise_for(next_of(self._happened))

    def until(self, condition: Callable[[], bool], *, seconds: float) -> bool:
        """Poll `condition` until it holds (True) or the time is over (False); raises as `watch` does."""
        end = time.monotonic() + seconds
        while not condition():
            with contextlib.suppress(Empty):
                self._raise_for(self._happened.get(timeout=0.05))
            if time.monotonic() > end:
                return False
        return True

    def stop(self, *, grace: float) -> None:
        """End the parts, the last started first: SIGTERM, up to `grace` seconds for each, then SIGKILL."""
        self._stopping = True
        for part in reversed(self._parts):
            part.process.send_signal(signal.SIGTERM)
            end = time.monotonic() + grace
            while part.process.poll() is None and time.monotonic() < end:
                grace = 0 if self._asked_again() else grace
                end = end if grace else 0
                time.sleep(0.02)
            part.process.kill()
            part.process.wait()
        self._parts.clear()

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._happened.put(None)

    def _asked_again(self) -> bool:
        with contextlib.suppress(Empty):
            while True:
                if self._happened.get_nowait() is None:
                    return True
        return False

    def _raise_for(self, happened: Part | None) -> None:
        if happened is None:
            raise StopAsked
        if happened in self._parts:
            raise PartDied(happened)

    def _pump(self, part: Part) -> None:
        for line in part.process.stdout or ():
            part.last_lines.append(line.decode(errors="replace").rstrip())
            part.on_line(line)
        part.process.wait()
        if not self._stopping:
            self._happened.put(part)

    def _write_log(self, name: str, line: bytes) -> None:
        with self._log_lock:
            self._log.write(f"{name:<8}| ".encode() + line.rstrip() + b"\n")
            self._log.flush()
