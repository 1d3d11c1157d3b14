"""Every error of Redis's client that a server can cause has its words; none repeats what was sent."""

import builtins
import inspect
import socket
import ssl

import pytest
import redis.exceptions

from palaver.shared.outage import FULL, reason

WITHOUT: dict[str, str] = {
    "ChildDeadlockedError": "a fork",
    "ConnectionError": "its text or its cause tells",
    "CrossSlotTransactionError": "the cluster's client",
    "DataError": "an argument of another type",
    "ExecAbortError": "a transaction; the error of its command is raised",
    "IncorrectPolicyType": "the cluster's client",
    "InvalidPipelineStack": "the cluster's client",
    "LockError": "locks",
    "LockNotOwnedError": "locks",
    "ModuleError": "MODULE LOAD",
    "NoScriptError": "the script is loaded and run again",
    "NoSuchFieldsetError": "field sets",
    "PubSubError": "a subscription without channels",
    "RedisClusterException": "the cluster's client",
    "RedisError": "the base",
    "ResponseError": "the base of replies",
    "SlotNotCoveredError": "the cluster's client",
    "WatchError": "WATCH",
}
"""What only a caller's own mistake raises, what Palaver does not use, and what tells nothing by itself."""


KINDS = [
    kind
    for kind in vars(redis.exceptions).values()
    if inspect.isclass(kind) and issubclass(kind, Exception) and kind.__module__ == "redis.exceptions"
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_of_the_client_has_its_words(kind: type[Exception]) -> None:
    told = reason(kind("1 hunter2:1"))
    assert ("failed" in told) == (kind.__name__ in WITHOUT)
    assert "hunter2" not in told


def test_what_needs_no_words_is_still_there() -> None:
    assert set(WITHOUT) <= {kind.__name__ for kind in KINDS}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (ConnectionRefusedError, "connection refused"),
        (ConnectionResetError, "it closed the connection"),
        (BrokenPipeError, "it closed the connection"),
        (FileNotFoundError, "there is no such socket or file"),
        (PermissionError, "its socket may not be opened by this user"),
        (builtins.TimeoutError, "it did not answer in time"),
        (socket.gaierror, "there is no host of this name"),
        (ssl.SSLCertVerificationError, "its certificate cannot be verified"),
        (ssl.SSLError, "no TLS could be agreed on"),
    ],
)
def test_the_cause_tells_more_than_what_it_is_wrapped_in(kind: type[OSError], words: str) -> None:
    error = redis.exceptions.ConnectionError("Error connecting to hunter2")
    error.__cause__ = kind(1, "hunter2")
    assert reason(error) == words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (redis.exceptions.ResponseError("command not allowed when used memory > 'maxmemory'."), FULL),
        (redis.exceptions.ResponseError("DB index is out of range"), "it has no database of this number"),
        (redis.exceptions.ResponseError("MISCONF Redis is configured to"), "it cannot write to its disk"),
        (redis.exceptions.ResponseError("NOREPLICAS Not enough good"), "it has too few replicas for a write"),
        (redis.exceptions.ConnectionError("max number of clients reached"), "it takes no more connections"),
        (redis.exceptions.ConnectionError("Connection closed by server."), "it closed the connection"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed"), "connection refused"),
        (OSError(113, "hunter2"), "no route to host"),
        (redis.exceptions.ConnectionError("hunter2"), "the connection failed (ConnectionError)"),
    ],
)
def test_what_its_text_tells(error: Exception, words: str) -> None:
    assert reason(error) == words
