"""`palaver` as a user runs it: real processes, in a folder of their own, without any PALAVER_* setting."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from palaver.producer.cli import main
from tests import forks
from tests.processes import cheaper, clean_environment, leash

PALAVER = (sys.executable, "-m", "palaver.producer.cli")

# Commands that start processes, and are asked for their own id.
_STARTERS = {"dev", "demo", "gateway", "worker"}


@dataclass
class Shell:
    """A folder in which commands are run."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str, command: Sequence[str] = PALAVER, **options: Any) -> subprocess.Popen[str]:
        """Start `palaver WORDS` with its output captured."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = clean_environment()
        del environment["NO_COLOR"]
        environment |= {"TERM": "xterm", **self.environment}
        command = (*command, *words)
        if forks.possible(command, environment) and not _STARTERS.intersection(words):
            command = cheaper(command)
        return subprocess.Popen(
            [*leash(), *command],
            cwd=self.folder,
            env=environment,
            text=True,
            **{**pipes, **options},
        )

    def run(self, *words: str, stdin: str = "", timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run `palaver WORDS` to its end."""
        with self.start(*words) as process:
            try:
                out, err = process.communicate(stdin, timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    @contextmanager
    def dev(self, *words: str, gateway: bool = False) -> Iterator["Dev"]:
        """`palaver dev --json` that is ready, on any free ports; killed at the end if it still runs, and with
        it its parts.
        """
        ports = ("--port-redis", "0", "--port-flower", "0", "--port-gateway", "0")
        more = () if gateway else ("--no-gateway",)
        with self.start("dev", "--json", *ports, *more, *words) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line, process.communicate()[1]
                yield Dev(self, process, json.loads(line))
            finally:
                process.kill()
                process.communicate(timeout=60)


@dataclass
class Inside:
    """The same commands by their entry point, in this process and without the start of another: for what they
    say and refuse. How a process starts, waits, draws and ends is for `Shell`.
    """

    folder: Path
    patch: pytest.MonkeyPatch
    captured: pytest.CaptureFixture[str]
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run `palaver WORDS` to its end."""
        self.patch.chdir(self.folder)
        self.patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        for name, value in self.environment.items():
            self.patch.setenv(name, value)
        self.captured.readouterr()  # what was written before
        code = main(list(words))
        return subprocess.CompletedProcess(words, code, *self.captured.readouterr())


@dataclass
class Dev:
    """A running `palaver dev` and what it said of itself."""

    shell: Shell
    process: subprocess.Popen[str]
    said: dict[str, Any]

    @property
    def parts(self) -> dict[str, int]:
        return dict(self.said["parts"])

    @property
    def redis_port(self) -> int:
        return urlsplit(self.said["redis_url"]).port or 0

    @property
    def json_file(self) -> Path:
        return self.shell.folder / ".palaver" / "dev.json"

    def end(self, number: signal.Signals, *, send: Callable[[int, int], None] = os.kill) -> tuple[int, str]:
        """Send the signal; the exit code and what was written to stderr."""
        send(self.process.pid, number)
        err = self.process.communicate(timeout=60)[1]
        return self.process.returncode, err


class Screen:
    """A command in a pseudo terminal."""

    def __init__(self, dev: "Dev", *words: str) -> None:
        self._mine, theirs = pty.openpty()
        self.process = dev.shell.start(*words, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.shown = ""

    def until(self, text: str = "") -> str:
        """Read until `text` was shown; without it to the end."""
        while not text or text not in self.shown:
            try:
                data = os.read(self._mine, 65536)
            except OSError:  # Linux: nobody holds the other end any more
                data = b""
            if not data:
                assert not text, f"{text!r} was never shown in {self.shown!r}"
                break
            self.shown += data.decode().replace("\r\n", "\n")
        return self.shown

    def end(self) -> int:
        """Read the rest; the exit code."""
        self.until()
        os.close(self._mine)
        return self.process.wait(30)


def alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")


def without(shell: Shell, *packages: str) -> None:
    """Run the commands of this shell as on a machine that lacks these packages."""
    folder = shell.folder / "without"
    folder.mkdir()
    lines = [f"sys.modules[{name!r}] = None" for name in packages]
    (folder / "sitecustomize.py").write_text("\n".join(["import sys", *lines]) + "\n")
    path = (str(folder), os.environ.get("PYTHONPATH"))
    shell.environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
