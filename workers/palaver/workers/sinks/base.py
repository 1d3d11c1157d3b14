"""The door for sinks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from palaver.shared.events import AnyEvent

__all__ = ["Sink"]


class Sink(ABC):
    """Something outside that is told the events of jobs. One that `PALAVER_SINKS` names is made once for a
    worker process, without arguments.

    It is told what the log has accepted, of the jobs that this worker runs, from their start on: in the
    order of the log, never two calls for one session at once. What gathers during a call comes with the next.
    """

    kinds: ClassVar[frozenset[str] | None] = None
    """The types of events that it is told of; None: all."""

    @abstractmethod
    async def publish(self, session_id: str, events: Sequence[AnyEvent]) -> None:
        """Tell these events, at least one. What it raises is logged, the events are lost to it, and no job
        knows. It has half a minute.
        """

    async def aclose(self) -> None:
        """Let go of what it holds."""
        return
