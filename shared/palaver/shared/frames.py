"""Where an exception happened, for logs."""

import traceback

__all__ = ["frames"]


def frames(error: BaseException) -> str:
    """The lines of code that it passed, without its text, which may quote a prompt, an answer or a key."""
    return "".join(traceback.format_tb(error.__traceback__))
