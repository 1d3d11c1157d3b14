"""What a shell runs: an operation is keys and arguments in, a reply out, and no I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Self, TypeVar

from palaver.shared.errors import (
    ConfigurationError,
    InternalError,
    LedgerFullError,
    LedgerUnavailableError,
    PalaverError,
)
from palaver.shared.ledger.scripts import Script
from palaver.shared.settings import Settings

R = TypeVar("R")
Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Command:
    """A Redis command, e.g. `Command("ZREM", "palaver:due", "s1/0199…")`."""

    words: tuple[Argument, ...] = field(repr=False)

    def __init__(self, *words: Argument) -> None:
        object.__setattr__(self, "words", words)

    @classmethod
    def call(cls, script: Script, key: str, *args: Argument) -> Self:
        """The call of a script of one key, by its hash."""
        return cls("EVALSHA", script.sha, 1, key, *args)


def nothing_after(_reply: Any) -> tuple[Command, ...]:
    """The `after` of an operation that needs none."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[R]):
    """One run of a script, with the plain commands on keys of other slots that belong to it.

    A shell sends `before` and the script in one go, then the commands that `after` makes of the raw reply,
    then gives the raw reply to `decode`. Everything may be sent again blindly. `decode` takes the reply in
    RESP2 with bytes, or the exception that a client library made of an error reply, and raises the
    verdict's error.
    """

    script: Script
    keys: tuple[str, ...]
    args: tuple[Argument, ...] = field(repr=False)
    decode: Callable[[Any], R]
    before: tuple[Command, ...] = field(default=(), repr=False)
    after: Callable[[Any], tuple[Command, ...]] = nothing_after

    def evalsha(self) -> tuple[Argument, ...]:
        """The words of the EVALSHA command."""
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.args)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query(Generic[R]):
    """Plain reading commands, sent in one go; `decode` takes the list of their raw replies."""

    commands: tuple[Command, ...]
    decode: Callable[[Sequence[Any]], R]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How much is kept and for how long (seconds): ended jobs, ended batches, logs after their last event,
    sessions, and of each day what was spent; how many messages and bytes of a session's history; how many of
    its jobs may not have ended.
    """

    job: float = 24 * 3600
    batch: float = 30 * 24 * 3600
    log: float = 3600
    session: float = 30 * 24 * 3600
    usage: float = 400 * 24 * 3600
    log_entries: int = 10_000
    history: int = 1_000
    history_bytes: int = 32 * 1024 * 1024
    session_jobs: int = 1_000

    @classmethod
    def of(cls, settings: Settings) -> "Retention":
        """As the settings say."""
        return cls(
            job=settings.retention,
            batch=settings.batch_retention,
            log=settings.log_retention,
            session=settings.session_retention,
            usage=settings.usage_retention,
            log_entries=settings.log_maxlen,
            history=settings.history_messages,
            history_bytes=settings.history_bytes,
            session_jobs=settings.session_jobs,
        )

    def args(self) -> tuple[Argument, ...]:
        """ARGV 3 to 7 of the scripts on jobs that take a retention."""
        return self._args(self.job)

    def batch_args(self) -> tuple[Argument, ...]:
        """The same for scripts on batches."""
        return self._args(self.batch)

    def _args(self, ended: float) -> tuple[Argument, ...]:
        return (
            self.log_entries,
            *(milliseconds(s) for s in (ended, self.log, self.session)),
            f"{self.history} {self.history_bytes}",
        )


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, at least 1: a time to live of 0 would delete the key."""
    return max(1, round(seconds * 1000))


_NOT_NOW: Final = {
    "NOREPLICAS": "too few replicas hear of it",
    "MISCONF": "Redis cannot write to its disk",
    "read only replica": "its Redis is a replica of another one",
    "Link with MASTER is down": "its Redis is a replica, and waits for the other's data",
}
"""Why a Redis that answers refuses writes for a while, by its words."""
_OF_A_REPLICA: Final = ("read only replica", "Link with MASTER is down")
"""It may have been none when it was asked first."""

_NO_PERMISSION: Final = ("NOPERM", "no permissions to", "can't run this command", "No permissions to")
"""As Redis says it, of a command, a key or a channel, and of each of them in a script."""


def reply_error(error: Exception) -> PalaverError:
    """What an error reply of Redis to a script or command means.

    The scripts' verdicts are no error replies.
    """
    # Redis 6 wraps the message of a command that a script was refused, and redis-py cuts off its first word.
    if "command not allowed when used memory" in str(error):
        return LedgerFullError()
    for words, why in _NOT_NOW.items():
        if words in str(error):
            refusal = LedgerUnavailableError(f"The ledger takes nothing now: {why}.")
            refusal.answered = words not in _OF_A_REPLICA
            return refusal
    if any(words in str(error) for words in _NO_PERMISSION):
        return ConfigurationError(
            "The Redis user of PALAVER_REDIS_URL may not do all that the ledger needs: "
            "deploy/redis/users.acl has the rights of each role.",
            param="redis_url",
        )
    return InternalError(f"Redis refused a command of the ledger ({str(error).partition(' ')[0]})")


def text(value: bytes | str) -> str:
    """A word of a reply."""
    return value.decode() if isinstance(value, bytes) else value
