"""Why a server cannot be used, in words: one table for the ledger and every broker; pure.

Client libraries wrap what went wrong once or twice, so the causes of an error are looked at too. Nothing of
an error's own text is repeated: it may hold what was sent.
"""

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

FULL: Final = "it is out of memory"
SILENT: Final = "it did not answer in time"


class Problem(NamedTuple):
    """An error of this class, with `text` in its message, means this."""

    error: type[BaseException]
    words: str
    text: str = ""


@cache
def problems() -> tuple[Problem, ...]:
    """What an error means: the first row that fits."""
    # The names of the errors bring the whole client; who made one fail has it.
    import redis.exceptions as redis
    from redis.asyncio.sentinel import MasterNotFoundError as NoMasterOfLoopError
    from redis.sentinel import MasterNotFoundError

    from palaver.shared.sentinels import MasterUnknownError

    unknown = (MasterUnknownError, MasterNotFoundError, NoMasterOfLoopError)
    return (
        # behind the colon are those sentinels that did not answer
        *(
            Problem(error, "no sentinel answers that knows a working master of this name", " : ")
            for error in unknown
        ),
        *(Problem(error, "its sentinels know no working master of this name") for error in unknown),
        Problem(redis.OutOfMemoryError, FULL),
        # a script of Redis 6 loses the word that tells the class
        Problem(redis.ResponseError, FULL, "command not allowed when used memory"),
        Problem(redis.ResponseError, "it has no database of this number", "DB index"),
        Problem(redis.ResponseError, "it cannot write to its disk", "MISCONF"),
        Problem(redis.ResponseError, "it has too few replicas for a write", "NOREPLICAS"),
        Problem(redis.ResponseError, "it runs a script that does not end", "BUSY"),
        Problem(redis.ResponseError, "it has become a replica, which takes no writes", "UNBLOCKED"),
        Problem(redis.ResponseError, "another program's key has the name of one of ours", "WRONGTYPE"),
        Problem(redis.ConnectionError, "it takes no more connections", "max number of clients"),
        Problem(redis.ConnectionError, "no connection was free in time", "No connection available"),
        Problem(redis.ConnectionError, "it closed the connection", "closed by server"),
        Problem(redis.AuthenticationError, "it refused the user or password"),
        Problem(redis.AuthenticationWrongNumberOfArgsError, "it refused the user or password"),
        Problem(redis.ExternalAuthProviderError, "it refused the user or password"),
        Problem(redis.AuthorizationError, "it does not allow this user what is needed"),
        Problem(redis.NoPermissionError, "it does not allow this user what is needed"),
        Problem(redis.BusyLoadingError, "it is still loading its data"),
        Problem(redis.ReadOnlyError, "it is a replica, which takes no writes"),
        Problem(redis.MasterDownError, "it is a replica that has lost its master"),
        Problem(redis.AskError, "it is one node of a Redis Cluster"),
        Problem(redis.ClusterError, "it is one node of a Redis Cluster"),
        Problem(redis.ClusterCrossSlotError, "it is one node of a Redis Cluster"),
        Problem(redis.TryAgainError, "it is one node of a Redis Cluster"),
        Problem(redis.InvalidResponse, "what answers there is no Redis"),
        Problem(redis.MaxConnectionsError, "no connection was free in time"),
        Problem(redis.TimeoutError, SILENT),
        Problem(TimeoutError, SILENT),
        Problem(socket.gaierror, "there is no host of this name"),
        Problem(ssl.SSLCertVerificationError, "its certificate cannot be verified"),
        Problem(ssl.SSLError, "no TLS could be agreed on"),
        Problem(ConnectionRefusedError, "connection refused"),
        # asyncio's error of several addresses
        Problem(OSError, "connection refused", f"[Errno {errno.ECONNREFUSED}]"),
        Problem(ConnectionError, "it closed the connection"),
        Problem(FileNotFoundError, "there is no such socket or file"),
        Problem(PermissionError, "its socket may not be opened by this user"),
    )


def reason(error: BaseException) -> str:
    """Why a server cannot be used: the first row that fits the error or one of its causes."""
    for cause in causes(error):
        for row in problems():
            if isinstance(cause, row.error) and row.text in str(cause):
                return row.words
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
    return f"the connection failed ({type(error).__name__})"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, then what caused it, then the cause of that."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
