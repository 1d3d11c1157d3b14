"""What a broker's client raises becomes one of two errors, which name the URL and no password."""

import inspect

import amqp.exceptions
import kombu.exceptions
import pytest
import redis.exceptions

from palaver.producer.broker_errors import REPLIES, broker_error
from palaver.shared.errors import BrokerFullError, BrokerUnavailableError

URL = "amqp://user:hunter2@h//"
OF_THE_CLIENT = {313, 501, 502, 503, 504, 505, 540, 541}
"""Reply codes for a client that breaks the protocol, or for what Palaver never asks."""


def replies() -> set[int]:
    kinds = [kind for kind in vars(amqp.exceptions).values() if inspect.isclass(kind)]
    return {code for kind in kinds if (code := getattr(kind, "code", 0))}


def test_every_reply_of_amqp_has_its_words() -> None:
    assert replies() == REPLIES.keys() | OF_THE_CLIENT


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (amqp.exceptions.AccessRefused("hunter2"), "refused the user or password"),
        (amqp.exceptions.NotAllowed("hunter2"), "virtual host"),
        (ConnectionRefusedError(111, "hunter2"), "connection refused"),
        (amqp.exceptions.UnexpectedFrame("hunter2"), r"the connection failed \(UnexpectedFrame\)"),
    ],
)
def test_a_broker_that_cannot_be_used(error: Exception, words: str) -> None:
    wrapped = kombu.exceptions.OperationalError("hunter2")
    wrapped.__cause__ = error
    for each in (error, wrapped):
        told = broker_error(URL, each)
        assert isinstance(told, BrokerUnavailableError)
        assert "amqp://user:***@h// cannot be reached: " in told.message
        assert "hunter2" not in told.message
    with pytest.raises(BrokerUnavailableError, match=words):
        raise broker_error(URL, error)


@pytest.mark.parametrize(
    "error",
    [
        amqp.exceptions.ResourceError("hunter2"),
        redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
    ],
)
def test_a_broker_that_is_full(error: Exception) -> None:
    told = broker_error(URL, error)
    assert isinstance(told, BrokerFullError)
    assert told.message == "The broker at amqp://user:***@h// is out of memory."
