"""What an error of the broker's client means, for Redis and RabbitMQ; pure."""

from typing import Final

from palaver.shared.errors import BrokerFullError, BrokerUnavailableError, PalaverError
from palaver.shared.outage import FULL, causes, reason
from palaver.shared.settings import redacted_url

REPLIES: Final = {
    311: "it takes no message of this size",
    320: "it closes its connections",
    402: "it has no such virtual host",
    403: "it refused the user or password",
    404: "it has lost a queue",
    405: "a queue of this name belongs to somebody else",
    406: "a queue of this name is there with other properties",
    506: FULL,
    530: "it has no such virtual host, or not for this user",
}
"""AMQP's reply codes: https://www.rabbitmq.com/amqp-0-9-1-reference#constants"""


class BrokerAlarmError(ConnectionError):
    """RabbitMQ blocks who publishes: its memory or its disk is full."""


def broker_error(url: str, error: BaseException) -> PalaverError:
    """BrokerFullError or BrokerUnavailableError, with the URL but not its password."""
    replied = [getattr(cause, "reply_code", None) for cause in causes(error)]
    why = next((REPLIES[code] for code in replied if code in REPLIES), None) or reason(error)
    shown = redacted_url(url)
    if any(isinstance(cause, BrokerAlarmError) for cause in causes(error)):
        return BrokerFullError(f"The broker at {shown} is out of memory or disk, and takes no message.")
    if why == FULL:
        return BrokerFullError(f"The broker at {shown} is out of memory.")
    return BrokerUnavailableError(f"The broker at {shown} cannot be reached: {why}.")


def refusal(url: str) -> BrokerFullError:
    """What a message means that RabbitMQ has not taken."""
    return BrokerFullError(f"The broker at {redacted_url(url)} has refused a message: its queue is full.")
