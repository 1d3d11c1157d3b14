"""A message of the broker's, here."""

from collections.abc import Callable
from typing import Any, ClassVar

from palaver.workers.event_log import event_logger

__all__ = ["Message"]

logger = event_logger("palaver.workers.intake")


class Message:
    """Before one of kombu's. Of an acknowledgement that the broker does not get kombu tells with a traceback,
    and of a pipe that is broken raises, although whoever reads from it will find out.
    """

    refusals: ClassVar[tuple[type[Exception], ...]] = ()
    """What a broker answers that is there, and does not let itself be told."""

    answering = False
    """Whether it is to be acknowledged, or rejected, in a moment."""

    delivery_tag: Any
    ack: Callable[..., None]
    reject: Callable[..., None]

    def ack_log_error(self, _logger: Any, errors: Any, multiple: bool = False) -> None:
        self._tell(errors, "message.not_acknowledged", lambda: self.ack(multiple=multiple))

    def reject_log_error(self, _logger: Any, errors: Any, requeue: bool = False) -> None:
        self._tell(errors, "message.not_rejected", lambda: self.reject(requeue=requeue))

    def _tell(self, errors: Any, event: str, answer: Callable[[], None]) -> None:
        try:
            answer()
        except (*errors, *self.refusals) as error:
            logger.warning(event, tag=self.delivery_tag, error=type(error).__name__)
