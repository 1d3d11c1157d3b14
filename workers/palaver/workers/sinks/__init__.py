"""Where events go besides the log: Pusher, or whatever a user adds."""

from palaver.workers.sinks.base import Sink
from palaver.workers.sinks.following import Sinks
from palaver.workers.sinks.loading import load_sinks

__all__ = ["Sink", "Sinks", "load_sinks"]
