"""What tests start often, forked from a process that has imported it: for a worker 0.02 s of a core, not 0.9.

`start` stands for `subprocess.Popen` of `python -m MODULE …`. This module itself, run with a name for its
socket and what to import, forks whenever it is asked; a child takes the folder, environment, arguments and
streams that were sent, and runs its module as the interpreter does. Programs of other names and whatever the
interpreter alone can do when it starts are started anew: see `possible`.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from tests import forked

IMPORTED: Final = {
    "palaver.workers": ("palaver.workers.app", "palaver.workers.serving"),
    "celery": ("celery.bin.celery", "palaver.workers.app"),
    "palaver.producer.cli": (
        "palaver.producer.cli.app",
        "palaver.producer.cli.chat",
        "palaver.producer.cli.jobs",
        "palaver.producer.cli.status",
        "palaver.producer.reading",
    ),
    "tests.mcp_server": ("mcp.server.mcpserver", "uvicorn"),
    "tests.provider": ("asyncio", "email.utils", "gzip", "json", "urllib.parse"),
}
"""Modules that can be run, and what of them is imported before: all but their `__main__`. Each has a process
that forks for it alone, lest a child finds imported what it would not have.
"""

LONGEST: Final = 1 << 18  # bytes of an order; Linux sends no longer message
ROOT = Path(__file__).resolve().parents[1]


class Forked:
    """A process that another one forked for us: as much of `subprocess.Popen` as the tests use."""

    def __init__(self, words: Sequence[str], keeper: socket.socket, stdout: TextIO) -> None:
        self.args = words
        self.stdout = stdout
        self.returncode: int | None = None
        self._keeper = keeper
        self.pid = int(keeper.recv(64))

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended. Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            self._keeper.settimeout(timeout)
            try:
                told = self._keeper.recv(64)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            # A keeper that ends without a word was killed, and what it kept with it.
            self.returncode = int(told or -signal.SIGKILL)
            self._keeper.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def possible(words: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a fork does the same as this command: it is of our interpreter, and tells it nothing else."""

    def told(variables: Mapping[str, str]) -> dict[str, str]:
        names = ("PYTHON", "LC_", "LANG", "TZ")
        return {name: value for name, value in variables.items() if name.startswith(names)}

    here = {**told(os.environ), "PYTHONUNBUFFERED": "1"}
    here.pop("PYTHONDONTWRITEBYTECODE", None)
    there = told(environment)
    if there.get("PYTHONPATH") in ("", str(ROOT)):
        here["PYTHONPATH"] = there["PYTHONPATH"]
    return (
        sys.platform == "linux"  # elsewhere nothing ties a process to its parent
        and tuple(words[:2]) == (sys.executable, "-m")
        and words[2] in IMPORTED
        and there == here
    )


def start(words: Sequence[str], folder: Path, environment: Mapping[str, str], name: str) -> Forked:
    """Run `python -m MODULE …` in a session of its own, forked by the process of this name."""
    reading, writing = os.pipe()
    silence = os.open(os.devnull, os.O_RDONLY)
    try:
        keeper = forked.order(name, words[2:], str(folder), environment, (silence, writing, writing))
    finally:
        os.close(silence)
        os.close(writing)
    return Forked(words, keeper, open(reading, encoding="utf-8", errors="replace"))


# The process that forks


def main(name: str, modules: Sequence[str]) -> None:
    """Fork for whoever asks; the child becomes what was asked for."""
    for module in modules:
        importlib.import_module(module)
    assert os.listdir("/proc/self/task") == [str(os.getpid())], "an import began a thread: no child has it"
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page that it shares
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(forked.address(name))
        listener.listen()
        print("listening")
        order, streams = _next_order(listener)
    _become(order, streams)
    more = order["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[0:1] = [order["folder"], *filter(None, more)]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


def _next_order(listener: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Returns in children only."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a keeper
    while True:
        connection, _ = listener.accept()
        with connection:
            order, streams, _, _ = socket.recv_fds(connection, LONGEST, 3)
            if os.fork() == 0:
                _keep(connection, streams)
                return json.loads(order), streams
            _close(streams)


def _keep(connection: socket.socket, streams: list[int]) -> None:
    """Fork once more. The child goes on; this process tells its id and, later, its exit code. It kills the
    child when nobody is there any more to be told.
    """
    _end_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if child := os.fork():
        _close(streams)
        connection.sendall(str(child).encode())
        ended = os.pidfd_open(child)
        if ended not in select.select([connection.fileno(), ended], [], [])[0]:
            signal.pidfd_send_signal(ended, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    _end_with_parent()


def _close(streams: list[int]) -> None:
    for stream in set(streams):
        os.close(stream)


def _end_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _become(order: dict[str, Any], streams: list[int]) -> None:
    os.setsid()
    for stream, sent in enumerate(streams):
        os.dup2(sent, stream)
    _close(streams)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = [order["module"], *order["arguments"]]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
