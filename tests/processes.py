"""Child processes for tests: waited for by what they print, ended by their own ids, their output kept."""

import atexit
import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Self

from tests import forked, forks

ROOT = Path(__file__).resolve().parents[1]
WORKER = (sys.executable, "-m", "palaver.workers")
"""What `palaver worker` becomes once it has seen that the services are there."""

# Without bytecode every start of a process would compile our sources once more: half of its time.
_FOREIGN = re.compile(r"^(PALAVER_|CELERY_|FLOWER_|PYTHONDONTWRITEBYTECODE$)|_proxy$", re.IGNORECASE)


class ProcessEnded(AssertionError):
    """A process ended or stayed silent before it said what was waited for; shows its last lines."""


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without proxies and without settings of the machine, plus `extra`.

    The interpreter that runs the tests comes first on PATH, so that `palaver` and `celery` are its own.
    """
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.search(name)}
    kept["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", os.defpath)))
    return {**kept, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", **(extra or {})}


def signal_beside(pid: int, number: int) -> None:
    """Send a process a signal by way of one of its other threads: the main one is not woken by it.

    Only Linux can do this; elsewhere the system chooses.
    """
    tasks = Path(f"/proc/{pid}/task")
    threads = sorted(int(task.name) for task in tasks.iterdir()) if tasks.exists() else [pid]
    if len(threads) == 1:
        os.kill(pid, number)
        return
    system = ctypes.CDLL(None, use_errno=True)
    if system.tgkill(pid, next(thread for thread in threads if thread != pid), number):
        raise OSError(ctypes.get_errno(), "the thread could not be sent the signal")


@cache
def leash() -> tuple[str, ...]:
    """What a command begins with, so that it dies with the thread that starts it, also when that is killed.

    Only Linux can do this; elsewhere tests that are killed leave their processes behind.
    """
    words = (shutil.which("setpriv") or "false", "--pdeathsig", "KILL")
    works = subprocess.run((*words, "true"), capture_output=True, timeout=10, check=False).returncode == 0
    return words if works else ()


@dataclass(eq=False)
class Running:
    """One started process. Everything it writes is kept in `lines` and in the file `log`."""

    name: str
    process: subprocess.Popen[str] | forks.Forked
    log: Path
    lines: list[str] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _closed: bool = False

    def __post_init__(self) -> None:
        threading.Thread(target=self._pump, name=f"log of {self.name}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        """All that it has written so far."""
        with self._news:
            return "\n".join(self.lines)

    def wait_for(self, pattern: str, *, seconds: float = 30) -> re.Match[str]:
        """The first line that matches the regular expression, also when it came before this call."""
        end = time.monotonic() + seconds
        seen = 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    if found := re.search(pattern, line):
                        return found
                seen = len(self.lines)
                left = end - time.monotonic()
                if self._closed or left <= 0:
                    why = f"ended with {self.process.poll()}" if self._closed else f"not within {seconds} s"
                    raise ProcessEnded(f"{self.name}: no line like {pattern!r}, {why}\n{self.tail()}")
                self._news.wait(left)

    def drained(self, *, seconds: float = 10) -> None:
        """Wait until all output of an ended process is in `lines`; no wait for one that runs."""
        if self.process.poll() is None:
            return
        with self._news:
            assert self._news.wait_for(lambda: self._closed, seconds), f"{self.name}: its output stays open"

    def forget(self) -> None:
        """Keep what it has written so far only in the file `log`."""
        with self._news:
            self.lines.clear()

    def tail(self, count: int = 40) -> str:
        """Its last lines."""
        return "\n".join(self.lines[-count:])

    def signal(self, number: int) -> None:
        """Send a signal to this process alone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL it with all that it started, at once, as a crash of its machine would."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has ended; or, just forked, it has no group of its own yet
            self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds: float = 15) -> int:
        """Ask it to end (SIGTERM) and kill what is left of its group; the exit code."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.kill()
        self._hear_out()
        return self.process.wait()

    def wait(self, seconds: float = 60) -> int:
        """Its exit code, once it has ended by itself, and what it has written is in `lines`."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ProcessEnded(f"{self.name}: still running after {seconds} s\n{self.tail()}") from None
        self._hear_out()
        return code

    def _hear_out(self) -> None:
        """Its last lines may still be on their way. What it has started may keep its output open."""
        with self._news:
            self._news.wait_for(lambda: self._closed, 5)

    def _pump(self) -> None:
        assert self.process.stdout is not None
        with self.log.open("a", encoding="utf-8") as log:
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._closed = True
            self._news.notify_all()


class Processes:
    """Starts processes and ends them, the last first. A context manager."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = dict(environment or {})
        self.all: list[Running] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(
        self,
        command: Iterable[str | Path],
        *,
        name: str = "",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Running:
        """Start `command` in a process group of its own, with a clean environment plus ours plus `env`.

        It ends with the thread that calls this, which should be the one that runs the test.
        """
        words = [str(word) for word in command]
        label = f"{name or Path(words[0]).name}-{len(self.all) + 1}"
        environment = clean_environment({**self.environment, **(env or {})})
        process = _started(words, cwd or self.folder, environment)
        running = Running(label, process, self.folder / f"{label}.log")
        self.all.append(running)
        return running

    def python(self, *words: str | Path, name: str = "", env: Mapping[str, str] | None = None) -> Running:
        """Start the interpreter of the tests with these arguments, in the root of the checkout."""
        return self.start((sys.executable, *words), name=name or "python", env=env, cwd=ROOT)

    def stop(self) -> None:
        """End everything that still runs, children that outlived their parents too.

        By SIGKILL: how a process ends when it is asked to is for the tests of just that to wait for.
        """
        for running in reversed(self.all):
            running.kill()


def cheaper(words: Sequence[str]) -> tuple[str, ...]:
    """A command that does the same as this one, of a module that may be forked, for what starts it itself: a
    small program that lends its streams to a fork. Elsewhere than on Linux the command as it is.
    """
    if sys.platform != "linux":
        return tuple(words)
    return (sys.executable, "-IS", forked.__file__, _forker(words[2]), *words[2:])


def _started(
    words: list[str], folder: Path, environment: dict[str, str]
) -> subprocess.Popen[str] | forks.Forked:
    if forks.possible(words, environment):
        return forks.start(words, folder, environment, _forker(words[2]))
    return subprocess.Popen(
        (*leash(), *words),
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


@cache
def _forker(module: str) -> str:
    """The name of the process that forks for a module. Started when first asked for, it ends with us."""
    name = f"palaver-forks-{os.getpid()}-{module}"
    with tempfile.TemporaryDirectory(prefix=name) as folder:
        processes = Processes(Path(folder))
        atexit.register(processes.stop)
        forker = processes.python("-m", "tests.forks", name, *forks.IMPORTED[module], name="forks")
        forker.wait_for("^listening$", seconds=60)
    return name
