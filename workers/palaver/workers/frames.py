"""Where an exception happened, for a worker's log."""

from palaver.shared.frames import forget_frames, frames, unhandled
from palaver.workers.event_log import event_logger

__all__ = ["forget_frames", "frames", "report", "unhandled"]

logger = event_logger("palaver.workers.runner")


def report(bug: Exception, where: str) -> None:
    """Log where it happened, but not the exception's text; after that nobody asks any more."""
    facts = {"error": type(bug).__name__, "where": where}
    logger.error(f"worker.internal_error\n{frames(bug)}", **facts)
    forget_frames(bug)
