"""The folder `.palaver` of a running `palaver dev`: its lock, its log, and dev.json with the addresses."""

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

FOLDER = Path(".palaver")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """What dev.json holds: enough for `Client` and the other commands to find the stack."""

    pid: int
    redis_url: str
    broker_url: str
    namespace: str
    config: str
    files_url: str
    flower_url: str | None
    gateway_url: str | None
    log: str
    parts: dict[str, int]
    """Process ids by the part's name."""


class DevFolder:
    """`.palaver` below `root`. A lock tells whether a dev runs: the kernel drops it with the process."""

    def __init__(self, root: Path) -> None:
        self.path = root.resolve() / FOLDER
        self.log = self.path / "dev.log"
        self.files_url = (self.path / "files").as_uri()
        self._addresses = self.path / "dev.json"
        self._lock = self.path / "dev.lock"

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the folder for this process; False when another dev holds it."""
        self.path.mkdir(exist_ok=True)
        with self._lock.open("ab") as lock:
            if not _locked(lock):
                yield False
                return
            self._addresses.unlink(missing_ok=True)  # of a dev that was killed
            try:
                yield True
            finally:
                self._addresses.unlink(missing_ok=True)

    def running(self) -> bool:
        """Whether a dev holds this folder now."""
        try:
            with self._lock.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def stale(self) -> bool:
        """Whether a dev.json lies here whose dev is gone."""
        return self._addresses.exists() and not self.running()

    def publish(self, addresses: Addresses) -> None:
        """Write dev.json, whole or not at all, for this user only: a URL may hold a password."""
        draft = self._addresses.with_suffix(".tmp")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(addresses), indent=2) + "\n")
        draft.replace(self._addresses)

    def addresses(self) -> Addresses | None:
        """What dev.json says; None without a readable one."""
        try:
            return Addresses(**json.loads(self._addresses.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def open_log(self) -> IO[bytes]:
        """A fresh dev.log; the one of the last run is kept beside it as dev.log.1."""
        with contextlib.suppress(FileNotFoundError):
            self.log.replace(self.log.with_suffix(".log.1"))
        return self.log.open("wb")


def _locked(lock: IO[bytes]) -> bool:
    # Another command that only asks `running` holds the lock for an instant.
    for _ in range(10):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False
