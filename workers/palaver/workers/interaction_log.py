"""Prompts and answers in the log: only where somebody has switched it on, `PALAVER_LOG_CONTENT`."""

from palaver.shared.responses import ChatResponse
from palaver.workers.event_log import event_logger
from palaver.workers.run import Run

__all__ = ["log_interaction"]

logger = event_logger("chat")


def log_interaction(run: Run, response: ChatResponse) -> None:
    """What a job has asked and was answered: `chat_message`, `chat_response` and `chat_metadata`, as JSON.

    The names begin with `chat_` because a record of `logging` has a `message` of its own.
    """
    job = run.job
    messages = [] if job is None else job.messages
    logger.info(
        "Chat interaction",
        **run.told(),
        chat_message=[message.model_dump(mode="json", exclude_none=True) for message in messages],
        chat_response=response.model_dump(mode="json", exclude_none=True),
        chat_metadata={} if job is None else job.metadata,
    )
