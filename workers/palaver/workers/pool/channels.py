"""Channels of ours in place of kombu's."""

from typing import Any, Final

from kombu.transport import pyamqp
from kombu.transport.redis import Channel as KombuRedisChannel
from kombu.transport.redis import SentinelChannel as KombuSentinelChannel

from palaver.workers.pool.message import Message
from palaver.workers.pool.redis_channel import Left, RedisChannel, SentinelChannel

__all__ = ["with_our_channels"]

REDIS: Final = {KombuRedisChannel: RedisChannel, KombuSentinelChannel: SentinelChannel}


class _Message(Message, pyamqp.Message):
    """As RabbitMQ delivers it."""


class _Channel(pyamqp.Channel):
    Message = _Message


class _Connection(pyamqp.Connection):
    Channel = _Channel


def with_our_channels(connection: Any, left: Left) -> Any:
    """The connection, which is not open yet, and has channels of our kind on Redis and RabbitMQ. `left` is
    what the connections before have left to it.
    """
    kombus = connection.create_transport

    def create_transport() -> Any:
        """Also for the next node, where the first is not there: kombu makes another one each time."""
        transport = kombus()
        channel = getattr(transport, "Channel", None)
        if channel in REDIS:
            transport.Channel, transport.left = REDIS[channel], left
        elif getattr(transport, "Connection", None) is pyamqp.Connection:
            transport.Connection = _Connection
        return transport

    connection.create_transport = create_transport
    connection._transport = None  # noqa: SLF001 - whoever asked for an error's class has had one made
    return connection
