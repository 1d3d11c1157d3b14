"""The beats by which Flower and other workers see that this one lives."""

from typing import Any

from celery.worker import heartbeat
from celery.worker.consumer import heart

__all__ = ["Heart"]


class Heart(heart.Heart):
    """Celery's step, whose beats hold nobody up."""

    heartbeat_interval: float | None  # seconds

    def start(self, c: Any) -> None:
        c.heart = _Beats(c.timer, c.event_dispatcher, self.heartbeat_interval)
        c.heart.start()


class _Beats(heartbeat.Heart):
    """One that cannot be sent is kept with the other events. Celery tries again on the spot, for as long as
    the broker is away: without a word, in the thread that would find the connection lost, and connect anew.
    """

    def _send(self, event: str, retry: bool = False) -> Any:
        return super()._send(event, retry=False)  # type: ignore[misc] # the stub lacks it
