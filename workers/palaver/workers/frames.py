"""Where an exception happened, for logs."""

import traceback

from palaver.workers.event_log import event_logger

__all__ = ["frames", "report"]

logger = event_logger("palaver.workers.runner")


def frames(error: BaseException) -> str:
    """The lines of code that it passed, without its text, which may quote a prompt, an answer or a key."""
    return "".join(traceback.format_tb(error.__traceback__))


def report(bug: Exception, where: str) -> None:
    """Log where it happened, but not the exception's text."""
    facts = {"error": type(bug).__name__, "where": where}
    logger.error(f"worker.internal_error\n{frames(bug)}", **facts)
